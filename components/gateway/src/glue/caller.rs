//! Who is asking: the bearer token, verified by auth through a typed call.

use crate::bearer::{self, NoToken};
use crate::bindings::wharf::media::identity::{Claims, Denial, verify};
use crate::glue::answer::Answer;
use crate::glue::exchange::Request;
use crate::glue::log;
use crate::id::UserId;

/// A person whose token was accepted.
pub struct Caller {
    /// Who it is.
    pub user: UserId,
    /// Until when the token speaks for them, in seconds since the Unix epoch.
    pub expires_at: u64,
}

/// Gives the caller, or the answer to send instead. Reads headers only, never the body.
pub fn of(request: &Request) -> Result<Caller, Answer> {
    let headers = request.header_values("authorization");
    let token = bearer::token_of(&headers).map_err(|no_token| match no_token {
        NoToken::Missing => refuse("Log in first.", None),
        NoToken::Malformed => denied(Denial::Malformed),
    })?;
    let Claims {
        subject,
        expires_at,
        ..
    } = verify(token).map_err(denied)?;
    let user = UserId::try_from(subject).map_err(|_| {
        log::error("auth named a user in a form that cannot be a key");
        Answer::broken()
    })?;
    Ok(Caller { user, expires_at })
}

fn denied(denial: Denial) -> Answer {
    let reason = match denial {
        Denial::Malformed => "the token is malformed",
        Denial::Algorithm => "the token's algorithm is not accepted",
        Denial::UnknownKey => "the token's key is not known",
        Denial::Signature => "the token's signature does not match",
        Denial::Issuer => "the token's issuer is another one",
        Denial::Audience => "the token is meant for another audience",
        Denial::Expired => "the token has expired",
        Denial::Unavailable => {
            return Answer::unavailable("Logins cannot be checked right now. Try again soon.");
        }
    };
    let sentence = match denial {
        Denial::Expired => "Your login has expired. Log in again.",
        _ => "Your login is not valid. Log in again.",
    };
    refuse(sentence, Some(reason))
}

fn refuse(sentence: &str, reason: Option<&str>) -> Answer {
    Answer::error(401, sentence).with("www-authenticate", bearer::challenge(reason))
}
