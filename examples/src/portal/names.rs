//! What people may call things.

use super::Refusal;

/// The user group that everybody is in. Nobody can be put into it or taken out of it.
pub const EVERYONE: &str = "everyone";

/// Checks the name of a user group or catalogue group: 1 to 128 bytes without slashes, line ends and blanks at the ends.
///
/// # Errors
///
/// [`Refusal::Invalid`].
pub fn group(name: &str) -> Result<(), Refusal> {
    let good = (1..=ppsp_auth::grant::Grants::MAX_GROUP).contains(&name.len())
        && name.trim() == name
        && !name.chars().any(|c| c == '/' || c.is_control());
    good.then_some(()).ok_or(Refusal::invalid(
        "a group has a name of 1 to 128 bytes without slashes, line ends and blanks at the ends",
    ))
}

/// Checks a title: 1 to 200 characters in one line.
///
/// # Errors
///
/// [`Refusal::Invalid`].
pub fn title(text: &str) -> Result<(), Refusal> {
    line(text, 200).ok_or(Refusal::invalid("a title has 1 to 200 characters in one line"))
}

/// Checks the name of a tracker: 1 to 100 characters in one line.
pub(super) fn tracker(text: &str) -> Result<(), Refusal> {
    line(text, 100).ok_or(Refusal::invalid("a tracker has a name of 1 to 100 characters in one line"))
}

fn line(text: &str, most: usize) -> Option<()> {
    let good =
        (1..=most).contains(&text.chars().count()) && !text.trim().is_empty() && !text.chars().any(char::is_control);
    good.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "Night shift", "größe", &"a".repeat(128)] {
            assert!(group(good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "a/b", "a\nb", &"a".repeat(129)] {
            assert!(group(bad).is_err(), "{bad}");
        }
        assert!(title("Big Buck Bunny (2008) / 1080p").is_ok() && title(" ").is_err() && title("a\nb").is_err());
        assert!(title(&"é".repeat(200)).is_ok() && title(&"é".repeat(201)).is_err());
    }
}
