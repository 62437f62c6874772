//! Runs the program that builds a capsule: confined, like the build of a crate (contract B6), or as its user would.
//!
//! A build runs code of the capsule's authors: a `command`, a tool in the folder, Python and JavaScript that the tools execute. A
//! confined build has no network, and writes only to `build/work`. It sees the system, the capsule's folder, the folder that
//! the program was installed in, and the toolchains that its recipe names.

use std::process::Stdio;
use std::sync::Arc;

use capsule_host::sandbox::{Confined, Network, Policy, Workspace};
use capsule_host::supervisor::{
    Ask, ExitInfo, Gate, Limits, Owner, Principal, Registry, RunOutput, Scope, SpawnRequest,
};
use tokio::runtime::Handle;

use super::error::BuildError;
use super::recipe::Recipe;
use super::site::{Site, WORK};
use super::tools::shown;
use crate::tool::{read_all, tool};

/// How a program ended, and what it wrote.
pub(crate) struct Ended {
    pub(crate) succeeded: bool,
    pub(crate) messages: Vec<u8>,
}

/// Where programs run.
pub(crate) enum Runner<'a> {
    Confined {
        scope: Box<Scope>,
        workspace: Workspace,
    },
    /// With all rights of the user.
    Trusted(&'a Site),
}

impl<'a> Runner<'a> {
    pub(crate) fn new(site: &'a Site, recipe: &Recipe, trusted: bool) -> Result<Self, BuildError> {
        if trusted {
            return Ok(Self::Trusted(site));
        }
        let mut policy = Policy::new().network(Network::None).writable_only([WORK]);
        for visible in shown(site.folder(), &recipe.programs(), recipe.toolchains())? {
            policy = policy.show(&visible);
        }
        let launcher = Arc::new(Confined::new(policy).map_err(BuildError::Confinement)?);
        let registry = Registry::new(Handle::current(), launcher, Limits::default())?;
        let scope = registry.scope(Owner {
            principal: Principal::Named("build".into()),
            capsule: "build".into(),
        });
        Ok(Self::Confined {
            scope: Box::new(scope),
            workspace: Workspace::open(site.folder()).map_err(BuildError::Workspace)?,
        })
    }

    /// Runs the program to its end. Dropping the future ends it, with all that it started.
    pub(crate) async fn run(&self, recipe: &Recipe) -> Result<Ended, BuildError> {
        match self {
            Self::Confined { scope, workspace } => confined(scope, workspace, recipe).await,
            Self::Trusted(site) => trusted(site, recipe).await,
        }
    }
}

async fn confined(scope: &Scope, workspace: &Workspace, recipe: &Recipe) -> Result<Ended, BuildError> {
    let request = SpawnRequest {
        cmd: recipe.executable().display().to_string(),
        args: recipe.arguments().to_vec(),
        env: [recipe.env(), &[("HOME".into(), "/tmp".into())]].concat(),
        ..SpawnRequest::default()
    };
    let output = scope.spawn(request, workspace, &mut Allowed).await;
    let RunOutput {
        stdout, stderr, exit, ..
    } = output.map_err(|error| BuildError::NoStart {
        program: recipe.program().to_owned(),
        error,
    })?;
    Ok(Ended {
        succeeded: exit
            == ExitInfo {
                exit_code: Some(0),
                signal: None,
            },
        messages: [stdout, stderr].concat(),
    })
}

async fn trusted(site: &Site, recipe: &Recipe) -> Result<Ended, BuildError> {
    let mut command = tool(&recipe.executable().display().to_string(), site.folder());
    command
        .args(recipe.arguments())
        .envs(recipe.env().iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let failed = |error| BuildError::NoProgram {
        program: recipe.program().to_owned(),
        error,
    };
    let mut group = crate::tool::Group::lead(command).map_err(failed)?;
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let (stdout, stderr) = tokio::join!(read_all(stdout), read_all(stderr));
    let status = group.child.wait().await.map_err(failed)?;
    Ok(Ended {
        succeeded: status.success(),
        messages: [stdout.map_err(failed)?, stderr.map_err(failed)?].concat(),
    })
}

/// The program is this command's own choice, or the author's, whose build is confined.
struct Allowed;

impl Gate for Allowed {
    fn allows(&mut self, _: &Owner, _: Ask<'_>) -> bool {
        true
    }
}
