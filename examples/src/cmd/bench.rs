use crate::cli::{args::LoopbackArgs, exit::Failure, output::Output};
pub(super) async fn run(_args: LoopbackArgs, _out: &mut Output) -> Result<(), Failure> { Err(Failure::other("todo")) }
