use serde_json::json;

use super::at_portal::{origin, sign_in_at};
use crate::{
    account::{Account, Logins},
    cli::{
        args::{LoginArgs, LogoutArgs},
        exit::Failure,
        output::Output,
    },
};

/// `ppsp login`.
pub(super) async fn run(args: LoginArgs, out: &Output) -> Result<(), Failure> {
    let user = args.user.parse().map_err(Failure::usage)?;
    let account = sign_in_at(out, &args.portal, user, args.pin, args.insecure_http.unwrap_or(false)).await?;
    let login = account.login().await;
    out.event(
        "login",
        &json!({ "portal": login.portal, "user": login.user, "role": login.role, "client_id": login.client_id,
                 "session": login.session }),
    );
    out.say(format_args!("{} is signed in at {} as {}", login.user, login.portal, login.role));
    Ok(())
}

/// `ppsp logout`.
pub(super) async fn out_again(args: LogoutArgs, out: &Output) -> Result<(), Failure> {
    let portal = args.at.portal.as_deref().map(origin).transpose()?;
    let user = args.user.as_deref().map(str::to_ascii_lowercase);
    let account = Account::open(Logins::of_user()?, portal.as_deref(), user.as_deref())?;
    let login = account.login().await;
    if let Err(error) = account.sign_out().await {
        out.warn(format_args!(
            "the Portal has not heard of it, and the session goes on there until it expires: {error}"
        ));
    }
    out.event("logout", &json!({ "portal": login.portal, "user": login.user }));
    out.say(format_args!("{} is signed out at {}", login.user, login.portal));
    Ok(())
}
