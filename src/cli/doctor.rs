//! `qrun doctor`: what this host is, and whether it can do a job.

use std::process::ExitCode;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::direct::Threads;
use super::{CliError, job, output};
use crate::host::HostFacts;
use crate::manifest::Job;
use crate::plan::render::size;
use crate::plan::{Demand, DiskDemand, Verdict};
use crate::steps::ErrorClass;

/// Show the host, and whether it can do a job
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With a manifest the exit code is 0 if the job can run here, 4 if the host \
                        cannot do it, 2 if the manifest asks for what cannot be and 3 if only \
                        inputs are missing."
)]
pub struct Args {
    /// A job's manifest: say whether this host can do it and why not
    #[arg(value_name = "JOB.toml")]
    manifest: Option<Utf8PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the doctor finds.
#[derive(Debug, Serialize)]
struct Finding {
    host: HostFacts,
    #[serde(flatten)]
    job: Option<JobFinding>,
}

/// Whether the host can do a job.
#[derive(Debug, Serialize)]
struct JobFinding {
    job: String,
    can_run: bool,
    /// What the host lacks.
    host_problems: Vec<String>,
    /// What the manifest asks for and cannot have.
    manifest_problems: Vec<String>,
    /// What is missing of the job's inputs.
    input_problems: Vec<String>,
    /// What will be slow here.
    warnings: Vec<String>,
    /// Steps that have to run.
    steps: usize,
    disks: Vec<DiskDemand>,
    /// Memory that the largest step should find, where it is known.
    largest_step_ram_bytes: Option<u64>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let host = HostFacts::gather();
    let job = match &args.manifest {
        None => None,
        Some(path) => Some(examine(job::load(path)?, &host)?),
    };
    let finding = Finding { host, job };
    if args.json {
        output::print_json(&finding)?;
    } else {
        output::tell(&describe(&finding))?;
    }
    Ok(finding.job.map_or(ExitCode::SUCCESS, |job| job.exit_code()))
}

impl JobFinding {
    fn exit_code(&self) -> ExitCode {
        let lists = [&self.host_problems, &self.manifest_problems, &self.input_problems];
        match lists.map(|list| list.is_empty()) {
            [false, ..] => ErrorClass::Host.exit_code().into(),
            [_, false, _] => ErrorClass::Usage.exit_code().into(),
            [.., false] => ErrorClass::Input.exit_code().into(),
            _ => ExitCode::SUCCESS,
        }
    }
}

/// Plans the job and holds what it asks for against the host.
fn examine(manifest: Job, host: &HostFacts) -> Result<JobFinding, CliError> {
    let name = manifest.name.clone();
    let mut plan = job::plan(manifest, None, Threads::default())?;
    let judgements = plan.judge_all()?;
    let Demand { steps, disks, problems, manifest_problems, input_problems: unfit, .. } =
        plan.demand(&judgements)?;
    let mut input_problems: Vec<String> = judgements
        .iter()
        .filter_map(|judgement| match &judgement.verdict {
            Verdict::Blocked { problems } => Some(problems.iter().cloned()),
            _ => None,
        })
        .flatten()
        .chain(unfit)
        .collect();
    input_problems.dedup();
    let runs = |step: &usize| judgements[*step].verdict != Verdict::Fresh;
    let largest =
        (0..steps.len()).filter(runs).filter_map(|step| Some((steps[step].ram_bytes?, step))).max();
    let warnings =
        largest.filter(|(bytes, _)| *bytes > host.available_ram_bytes).map(|(bytes, step)| {
            format!(
                "{} should find {} of memory and {} are available: it will read its file again and \
             again, and its times say more about the disk than about the format",
                plan.graph().node(step).id,
                size(bytes),
                size(host.available_ram_bytes)
            )
        });
    Ok(JobFinding {
        job: name,
        can_run: problems.is_empty() && manifest_problems.is_empty() && input_problems.is_empty(),
        host_problems: problems,
        manifest_problems,
        input_problems,
        warnings: warnings.into_iter().collect(),
        steps: (0..steps.len()).filter(runs).count(),
        disks,
        largest_step_ram_bytes: largest.map(|(bytes, _)| bytes),
    })
}

fn describe(finding: &Finding) -> String {
    let mut text = describe_host(&finding.host);
    if let Some(job) = &finding.job {
        text.push_str("\n\n");
        text.push_str(&describe_job(job));
    }
    text
}

fn describe_host(facts: &HostFacts) -> String {
    format!(
        "CPU       {} ({})\ncores     {}, {} threads for qrun\nfeatures  {}\n\
         RAM       {}, {} available\nkernel    {}\ngovernor  {}\nload      {:.2} over the last minute",
        facts.cpu_model,
        facts.architecture,
        facts.cores,
        facts.threads,
        facts.features.join(" "),
        facts.ram_in_words(),
        size(facts.available_ram_bytes),
        facts.kernel,
        facts.governor.as_deref().unwrap_or("not shown by this kernel"),
        facts.load_1m,
    )
}

fn describe_job(job: &JobFinding) -> String {
    let mut lines = vec![format!("{}: {} to run", job.job, counted(job.steps, "step"))];
    for disk in &job.disks {
        let needed = match (disk.exact, disk.needed_bytes) {
            (true, bytes) => format!("{} to write", size(bytes)),
            (false, 0) => "sizes not known yet".to_owned(),
            (false, bytes) => format!("at least {} to write", size(bytes)),
        };
        let free = size(disk.free_bytes);
        lines.push(format!(
            "disk      {needed}; {free} free on the file system of {}",
            disk.directory
        ));
    }
    if let Some(bytes) = job.largest_step_ram_bytes {
        lines.push(format!("memory    {} for the largest step", size(bytes)));
    }
    let told = [
        ("host", &job.host_problems),
        ("manifest", &job.manifest_problems),
        ("input", &job.input_problems),
        ("warning", &job.warnings),
    ];
    for (kind, problems) in told {
        lines.extend(problems.iter().map(|problem| format!("{kind:<9} {problem}")));
    }
    let verdict = match (&job.host_problems[..], &job.manifest_problems[..]) {
        ([], []) if job.can_run => "this host can do it",
        ([], []) => "this host can do it once the inputs are there",
        ([], _) => "nobody can do it until the manifest is changed",
        _ => "this host cannot do it",
    };
    lines.push(verdict.to_owned());
    lines.join("\n")
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
