//! The recipes of docs/cookbook.md and docs/tunnels-cookbook.md: the blocks of each section are run by `sh -e`
//! on a network of their own, behind the blocks of the first section, which builds it.

use crate::fixture::SWITCHD;
use crate::other_netns::Names;
use anyhow::{Context, bail, ensure};
use lab::harness::{Test, Unsupported};
use lab::{Namespace, RunDir, has_taps};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const TESTS: &[Test] = &[
    ("cookbook::every_recipe_works", || every_recipe_works(PAGE, 9)),
    ("cookbook::every_recipe_of_tunnels_works", || every_recipe_works(TUNNELS, 3)),
];

const PAGE: &str = include_str!("../../../docs/cookbook.md");
const TUNNELS: &str = include_str!("../../../docs/tunnels-cookbook.md");

/// What a line begins with that says what the commands in front of it print.
const PRINTS: &str = "# prints ";

/// Stops the switches when the script ends. `$!` is the process that the script has started last in the
/// background; others are in network namespaces with names.
const TIDY: &str = "trap 'kill $! 2> /dev/null || true; wait
for name in $(ip netns list | cut -d\" \" -f1); do ip netns pids $name | xargs -r kill || true; done
ip -all netns delete' EXIT\n";

/// A section of the page.
struct Recipe {
    title: &'static str,
    /// Its blocks, which are indented by four blanks on the page.
    script: String,
}

fn recipes(page: &'static str) -> Vec<Recipe> {
    let sections = page.split("\n## ").skip(1);
    let recipe = |section: &'static str| {
        let (title, text) = section.split_once('\n').unwrap_or((section, ""));
        let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
        Recipe { title, script: lines.map(|line| format!("{line}\n")).collect() }
    };
    sections.map(recipe).collect()
}

/// Runs the recipes of a page, of which there are at least `count`.
fn every_recipe_works(page: &'static str, count: usize) -> anyhow::Result<()> {
    for program in ["ip", "tc"] {
        need(program)?;
    }
    let ofctl = ofctl()?;
    // `ip netns` keeps names of namespaces below /run.
    let _names = Names::new()?;
    let recipes = recipes(page);
    let (network, recipes) = recipes.split_first().context("sections")?;
    ensure!(recipes.len() >= count, "the page has lost recipes");
    for recipe in recipes {
        if let Some(lacking) = lacking(recipe) {
            println!("skipped: {}: this machine has no {lacking}", recipe.title);
            continue;
        }
        run(network, recipe, &ofctl).with_context(|| format!("recipe {:?}", recipe.title))?;
    }
    Ok(())
}

/// Skips the test if a program is missing, or fails it where all tests have to run.
fn need(program: &str) -> anyhow::Result<()> {
    if Command::new(program).arg("-V").output().is_ok() {
        return Ok(());
    }
    let must_run =
        std::env::var("SWITCHD_REQUIRE").is_ok_and(|features| features.contains("netns"));
    ensure!(
        !must_run,
        "SWITCHD_REQUIRE=netns, and there is no program {program}: install iproute2"
    );
    Err(Unsupported::lacking(format!("program {program} (iproute2)")))
}

/// What the recipe needs and this machine does not have; `None` if it has everything.
fn lacking(recipe: &Recipe) -> Option<&'static str> {
    let shapes = "ip link add probe type veth peer name probe2 && \
                  tc qdisc add dev probe root tbf rate 1mbit burst 64kb latency 50ms";
    let can_shape = || {
        let namespace = Namespace::new().ok()?;
        let tried = namespace.run(|| Command::new("sh").args(["-c", shapes]).output()).ok()?;
        tried.ok().filter(|output| output.status.success())
    };
    if recipe.script.contains("tap") && !has_taps() {
        return Some("TAP devices");
    }
    (recipe.script.contains("tbf") && can_shape().is_none()).then_some("tbf queueing discipline")
}

/// The folder with `switchd`, where `ofctl` is built, too.
fn programs() -> anyhow::Result<&'static Path> {
    Path::new(SWITCHD).parent().context("a program is in a folder")
}

/// Builds `ofctl` beside `switchd`: cargo builds only the programs of the package that it tests.
fn ofctl() -> anyhow::Result<PathBuf> {
    let folder = programs()?;
    let target = folder.parent().context("a folder for each profile")?;
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--offline", "--package", "ofctl", "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    ensure!(build.status().context("start cargo")?.success(), "ofctl is not built");
    Ok(folder.join("ofctl"))
}

fn run(network: &Recipe, recipe: &Recipe, ofctl: &Path) -> anyhow::Result<()> {
    let dir = RunDir::new()?;
    let (script, out, log) =
        (dir.path().join("script"), dir.path().join("out"), dir.path().join("log"));
    fs::write(&script, format!("{TIDY}ip link set lo up\n{}{}", network.script, recipe.script))?;
    ensure!(ofctl.exists(), "{} is missing", ofctl.display());
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell
        .arg("-e")
        .arg(&script)
        .current_dir(dir.path())
        .env("SWITCH_RUNDIR", dir.path())
        .env("PATH", format!("{}:{path}", programs()?.display()))
        .stdout(File::create(&out)?)
        .stderr(File::create(&log)?);
    let status = Namespace::new()?.run(|| shell.status())??;
    let (printed, log) = (fs::read_to_string(&out)?, fs::read_to_string(&log)?);
    if !status.success() {
        bail!("{status}\n{printed}\n{log}");
    }
    let mut rest = printed.as_str();
    for expected in recipe.script.lines().filter_map(|line| line.strip_prefix(PRINTS)) {
        let found = rest.find(expected);
        let found = found.with_context(|| format!("{expected:?} is not in:\n{rest}\n{log}"))?;
        rest = &rest[found + expected.len()..];
    }
    Ok(())
}
