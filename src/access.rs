//! Who may do what, and who did it: roles, the tokens that prove one, and the chain of the audit.
//!
//! Pure: it reads no header (that is `api`) and keeps nothing (that is `store`). Invariant: a
//! token's text is never part of these types, only its keyed hash is.

mod audit;
mod token;

use std::fmt;
use std::str::FromStr;
use strum::{IntoStaticStr, VariantArray};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use audit::{Act, ChainCheck, ChainFault, ChainKey, ChainStart, Entry};
pub use token::{
    NewToken, Standing, TOKEN_CHARS_MAX, TokenHash, TokenId, TokenIdError, TokenKey, TokenOrigin,
    TokenRecord, may_be_token,
};

/// What a caller may do; each role includes the ones before it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Changes the inventory and installs servers.
    Operator,
    /// Says who may do so, and reads who did.
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be viewer, operator or admin")]
pub struct RoleError;

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Role, RoleError> {
        Role::VARIANTS.iter().copied().find(|role| role.name() == text).ok_or(RoleError)
    }
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Names one holder permanently: `token:` and its id, or `anybody` where no token is required.
    pub id: String,
    /// As people call it.
    pub name: String,
    pub role: Role,
    /// When what they showed is no longer good, if that is known.
    pub expires_at: Option<Timestamp>,
}

impl Actor {
    /// Any caller of a controller that requires no tokens.
    pub fn anybody() -> Actor {
        Actor::admin("anybody")
    }

    /// The controller itself.
    pub fn controller() -> Actor {
        Actor::admin("controller")
    }

    fn admin(name: &str) -> Actor {
        Actor { id: name.to_owned(), name: name.to_owned(), role: Role::Admin, expires_at: None }
    }

    pub fn of_token(token: &TokenRecord) -> Actor {
        Actor {
            id: format!("token:{}", token.id),
            name: token.name.clone(),
            role: token.role,
            expires_at: token.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_read_back() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for &role in Role::VARIANTS {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("Admin".parse::<Role>().is_err() && "".parse::<Role>().is_err());
    }
}
