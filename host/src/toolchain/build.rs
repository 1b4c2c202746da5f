//! Builds the components of an application, each through its own command.

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::SetupError;
use super::c_compiler::CCompiler;
use super::environment::{Environment, Layout};
use super::freshness::{Before, needs_build, uses_cargo};
use super::progress::{Outcome, Progress, run};
use super::resolved::resolve;
use super::rust::RustToolchain;
use super::system::{System, is_root};
use super::tool::{Tool, ensure};
use crate::manifest::model::{Application, Build, Component};
use crate::name::ComponentName;

/// Longest that one component's command may take. The converter takes two minutes on two cores.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A component whose artifact is what its source gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Whose artifact it is.
    pub component: ComponentName,
    /// Where it is.
    pub artifact: PathBuf,
    /// It was so already: its command did not run.
    pub fresh: bool,
}

/// A component was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The application has no component of this name.
    #[error("the application has no component {0}")]
    UnknownComponent(ComponentName),
    /// What its build needs could not be had.
    #[error("component {component} cannot be built")]
    Setup {
        /// Whose build it is.
        component: ComponentName,
        /// What is missing, and how to get it.
        source: SetupError,
    },
    /// libtool, by which C libraries are built, breaks at spaces in paths.
    #[error(
        "component {component} has C in it, which cannot be built in a directory with spaces in \
         its name: {path}\nMove the project to a directory without, and build again"
    )]
    Spaces {
        /// Whose build it is.
        component: ComponentName,
        /// The directory.
        path: PathBuf,
    },
    /// Its command could not be run, or did not end in time.
    #[error("component {component}: its build command cannot be run in {workdir}: {command}")]
    Run {
        /// Whose build it is.
        component: ComponentName,
        /// The command.
        command: String,
        /// Where it was to run.
        workdir: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Its command failed.
    #[error(
        "{output}\ncomponent {component}: its build command failed ({status}); what it said stands \
         above. It ran in {workdir}:\n  {command}"
    )]
    Failed {
        /// Whose build it is.
        component: ComponentName,
        /// The command.
        command: String,
        /// Where it ran.
        workdir: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        output: String,
    },
    /// Its command succeeded, and yet there is no artifact.
    #[error(
        "component {component}: its build command made no {path}\n\
         Correct `artifact` or `build.command` of [component.{component}] in the manifest"
    )]
    NoArtifact {
        /// Whose build it is.
        component: ComponentName,
        /// Where the manifest says that the artifact is.
        path: PathBuf,
    },
}

/// Builds the components of `application`, or `only` the one, and gives every component that has a
/// build command, in the order of their names. What is fresh takes some milliseconds; whatever the
/// builds need is set up first, where that is allowed.
///
/// # Errors
///
/// The first component that cannot be built ends it. Components before it stay built.
pub fn build(
    application: &Application,
    only: Option<&ComponentName>,
    progress: &mut dyn Progress,
) -> Result<Vec<Built>, BuildError> {
    if let Some(name) = only
        && !application.components.contains_key(name)
    {
        return Err(BuildError::UnknownComponent(name.clone()));
    }
    let chosen = application
        .components
        .values()
        .filter(|c| only.is_none_or(|name| c.name == *name));
    let chosen: Vec<&Component> = chosen.collect();
    // First of all, so that what cannot be had is known before minutes of compiling.
    let stale_c = chosen.iter().find(|component| {
        component
            .build
            .as_ref()
            .is_some_and(|build| build.c_toolchain)
            && needs_build(component)
    });
    if let Some(component) = stale_c {
        let name = component.name.clone();
        c_compiler(progress).map_err(|source| BuildError::Setup {
            component: name,
            source,
        })?;
    }
    let mut built = Vec::new();
    for component in chosen {
        let Some(recipe) = &component.build else {
            continue;
        };
        let fresh = !needs_build(component);
        if !fresh {
            build_one(component, recipe, progress)?;
        }
        let artifact = component.artifact.built().to_owned();
        built.push(Built {
            component: component.name.clone(),
            artifact,
            fresh,
        });
    }
    Ok(built)
}

fn build_one(
    component: &Component,
    build: &Build,
    progress: &mut dyn Progress,
) -> Result<(), BuildError> {
    let name = &component.name;
    let run_error = |source| BuildError::Run {
        component: name.clone(),
        command: build.command.clone(),
        workdir: build.workdir.clone(),
        source,
    };
    let (resolved, build) = resolve(component, build).map_err(run_error)?;
    let environment = set_up(&resolved, &build, progress)?;
    environment.write_scripts().map_err(run_error)?;

    let before = Before::look(&resolved, &build);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(&build.command)
        .current_dir(&build.workdir);
    environment.apply(&mut command);
    let step = format!("building {name}");
    let Outcome { status, output } =
        run(&mut command, &step, BUILD_LIMIT, progress).map_err(run_error)?;
    if !status.success() {
        let (command, workdir) = (build.command.clone(), build.workdir.clone());
        return Err(BuildError::Failed {
            component: name.clone(),
            command,
            workdir,
            status,
            output,
        });
    }
    let path = component.artifact.built();
    if !path.is_file() {
        return Err(BuildError::NoArtifact {
            component: name.clone(),
            path: path.to_owned(),
        });
    }
    before.stamp(&resolved, &build).map_err(run_error)
}

/// Gets what the build needs, and composes its environment.
fn set_up(
    component: &Component,
    build: &Build,
    progress: &mut dyn Progress,
) -> Result<Environment, BuildError> {
    let name = &component.name;
    let setup = |source| BuildError::Setup {
        component: name.clone(),
        source,
    };
    let workdir = &build.workdir;
    let rust = if uses_cargo(build) {
        let rust = RustToolchain::find(workdir).map_err(setup)?;
        rust.ensure_target(workdir, progress).map_err(setup)?;
        Some(rust)
    } else {
        // A script may call cargo; if it does not, nothing is missing.
        RustToolchain::find(workdir).ok()
    };
    let c = if build.c_toolchain {
        let target = Layout::of(component.artifact.built()).cargo_target;
        let path = target.unwrap_or_else(|| workdir.clone());
        if path.to_string_lossy().contains(char::is_whitespace) {
            return Err(BuildError::Spaces {
                component: name.clone(),
                path,
            });
        }
        Some(c_compiler(progress).map_err(setup)?)
    } else {
        None
    };
    Ok(Environment::new(
        component,
        workdir,
        rust.as_ref(),
        c.as_ref(),
    ))
}

/// The C compiler for wasm, installed where it is missing and that is allowed.
fn c_compiler(progress: &mut dyn Progress) -> Result<CCompiler, SetupError> {
    if let Some(compiler) = CCompiler::find() {
        return Ok(compiler);
    }
    ensure(&[Tool::CForWasm], progress)?;
    CCompiler::find().ok_or_else(|| SetupError::Missing {
        what: Tool::CForWasm.name(),
        why: "it was there a moment ago",
        fix: Tool::CForWasm.how_to_get(System::detect(), is_root()),
    })
}
