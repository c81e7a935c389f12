use crate::cli::{args::DemoArgs, exit::Failure, output::Output};
pub(super) async fn run(_args: DemoArgs, _out: &mut Output) -> Result<(), Failure> { Err(Failure::other("todo")) }
