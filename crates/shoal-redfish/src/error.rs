//! What goes wrong between us and a BMC, and what may be done about it.
//!
//! It names no server: the caller, which knows the job, adds that. Invariants: no text here holds a password,
//! a token or the path of a media URL, for what a BMC says is redacted before it is kept; and
//! [`Effect::None`] is claimed only where the request certainly did nothing.

use std::time::Duration;

use super::Op;
use super::messages::Complaint;

/// A request to a BMC that did not do what it was for.
#[derive(Debug, thiserror::Error)]
#[error("{op} at {path}: {kind}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
pub struct RedfishError {
    pub op: Op,
    /// Path of the resource on the BMC.
    pub path: String,
    pub kind: RedfishErrorKind,
    /// How long the BMC asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The BMC had taken the request in, and what went wrong came later.
    pub accepted: bool,
    /// What the system says of a connection that was not made or that broke.
    pub reason: Option<Box<str>>,
}

/// What the BMC said, or why it said nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedfishErrorKind {
    /// No connection was made.
    #[error("the BMC cannot be reached")]
    Unreachable,
    #[error("the BMC's TLS certificate is not trusted")]
    Certificate,
    #[error("the connection to the BMC broke before its answer came")]
    Broken,
    #[error("the BMC gave no answer within {}", seconds(.after))]
    TimedOut { after: Duration },
    /// An HTTP status other than success. `message_id` and `message` are the BMC's own, empty where
    /// it gave none.
    #[error("the BMC answered {status}{}", quoted(.message_id, .message))]
    Refused { status: u16, message_id: String, message: String },
    /// The account was refused.
    #[error("the BMC refused the account{}", quoted(.message_id, .message))]
    Unauthorised { message_id: String, message: String },
    /// The account's password is kept elsewhere, and is not there.
    #[error("the account has no password: {why}")]
    NoPassword { why: String },
    #[error("the BMC's answer is not JSON")]
    Garbled,
    #[error("the BMC's answer is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    /// The Redfish Task of the request ended without success; the message begins with its state.
    #[error("the BMC's Task failed{}", quoted(.message_id, .message))]
    TaskFailed { message_id: String, message: String },
    /// The answer was a success by its status and holds a message of severity Critical.
    #[error("the BMC accepted the request and reported that it failed{}", quoted(.message_id, .message))]
    ReportedFailure { message_id: String, message: String },
    #[error("the BMC {what}")]
    Unsupported { what: String },
    /// It fetches images by other protocols than that of this one's URL; no slot of it will take the URL.
    #[error("the BMC takes images by {offered} only, and this one's URL has another scheme")]
    ImageProtocol { offered: String },
    /// A link or a redirect that would carry the credentials elsewhere.
    #[error("the BMC's link leads to {origin}, which is not the BMC: not followed")]
    OtherOrigin { origin: String },
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same may work a little later.
    Retry,
    /// It will not work, however often it is tried.
    Permanent,
    /// An operator has to change the account, a certificate, a licence or a setting first.
    NeedsOperator,
}

/// What a BMC says stands in the way of a request, by its message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    License,
    Privilege,
    /// The account is locked, or has to change its password first.
    Account,
    /// No session is left.
    Sessions,
    /// Not now.
    Busy,
    /// It did not get to the image's server.
    Connection,
}

/// Whether the request may have done something all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It certainly did nothing.
    None,
    /// It is not known: look before acting again.
    Unknown,
}

impl RedfishError {
    pub(super) fn new(op: Op, path: &str, kind: RedfishErrorKind) -> RedfishError {
        let path = path.chars().take(PATH_CHARS_MAX).collect();
        RedfishError { op, path, kind, retry_after: None, accepted: false, reason: None }
    }

    /// Of a status that is no success.
    pub(super) fn refused(op: Op, path: &str, status: u16, complaint: Complaint) -> RedfishError {
        let Complaint { message_id, message, .. } = complaint;
        RedfishError::new(op, path, RedfishErrorKind::Refused { status, message_id, message })
    }

    /// Of a Task that ended in `state`.
    pub(super) fn task_failed(path: &str, state: &str, complaint: Complaint) -> RedfishError {
        let message = format!("{state}. {}", complaint.message).trim_end().to_owned();
        let kind = RedfishErrorKind::TaskFailed { message_id: complaint.message_id, message };
        RedfishError::new(Op::Task, path, kind)
    }

    /// Of a success that holds a message of severity Critical.
    pub(super) fn reported_failure(op: Op, path: &str, complaint: Complaint) -> RedfishError {
        let Complaint { message_id, message, .. } = complaint;
        let kind = RedfishErrorKind::ReportedFailure { message_id, message };
        RedfishError { accepted: true, ..RedfishError::new(op, path, kind) }
    }

    /// What the BMC's message says stands in the way.
    pub fn obstacle(&self) -> Option<Obstacle> {
        use RedfishErrorKind as Kind;
        let (Kind::Refused { message_id, .. }
        | Kind::Unauthorised { message_id, .. }
        | Kind::TaskFailed { message_id, .. }
        | Kind::ReportedFailure { message_id, .. }) = &self.kind
        else {
            return None;
        };
        let named = OBSTACLES.iter().find(|(words, _)| names_one_of(message_id, words));
        let by_status = match &self.kind {
            Kind::Refused { status: 403, .. } => Some(Obstacle::Privilege),
            Kind::Refused { status: 429, .. } => Some(Obstacle::Busy),
            _ => None,
        };
        named.map(|(_, obstacle)| *obstacle).or(by_status)
    }

    /// Whether the BMC took the request in and then reported that it failed.
    pub fn is_reported_failure(&self) -> bool {
        matches!(self.kind, RedfishErrorKind::TaskFailed { .. } | RedfishErrorKind::ReportedFailure { .. })
    }

    pub(super) fn unsupported(op: Op, path: &str, what: &str) -> RedfishError {
        RedfishError::new(op, path, RedfishErrorKind::Unsupported { what: what.to_owned() })
    }

    pub fn class(&self) -> ErrorClass {
        use RedfishErrorKind as Kind;
        match &self.kind {
            Kind::Unreachable | Kind::Broken | Kind::TimedOut { .. } | Kind::Garbled => ErrorClass::Retry,
            Kind::Certificate | Kind::Unauthorised { .. } | Kind::NoPassword { .. } => {
                ErrorClass::NeedsOperator
            }
            Kind::TooLarge { .. } | Kind::Unsupported { .. } | Kind::OtherOrigin { .. } => {
                ErrorClass::Permanent
            }
            Kind::ImageProtocol { .. } => ErrorClass::NeedsOperator,
            Kind::Refused { status, message_id, .. } => self.class_of_status(*status, message_id),
            // Huawei iBMC 6.41: `ConnectionFailed` at random, so another try is worth it.
            Kind::TaskFailed { message_id, .. } | Kind::ReportedFailure { message_id, .. } => {
                class_of_message(message_id).unwrap_or(ErrorClass::Retry)
            }
        }
    }

    fn class_of_status(&self, status: u16, message_id: &str) -> ErrorClass {
        match status {
            _ if class_of_message(message_id).is_some() => {
                class_of_message(message_id).unwrap_or(ErrorClass::Permanent)
            }
            // A reset that comes too soon after the last change of power is refused with 400 by
            // some (HPE iLO, sushy); one that names its parameter will never be accepted.
            // So is a configuration import while another job is at work (sushy-oem-idrac).
            400 if matches!(self.op, Op::Reset | Op::BootImport) && !message_id.contains("Parameter") => {
                ErrorClass::Retry
            }
            // As a boot override is during the self test (HPE iLO), not always in HPE's own word.
            400 if matches!(self.op, Op::BootOnce | Op::BootDisarm)
                && message_id.contains("OperationFailed") =>
            {
                ErrorClass::Retry
            }
            // A look at a Task says nothing of what the Task does.
            _ if self.op == Op::Task => ErrorClass::Retry,
            403 => ErrorClass::NeedsOperator,
            408 | 409 | 412 | 423 | 425 | 428 | 429 => ErrorClass::Retry,
            501 | 505 => ErrorClass::Permanent,
            500.. => ErrorClass::Retry,
            _ => ErrorClass::Permanent,
        }
    }

    /// The same, met after the BMC had taken the request in.
    pub(super) fn after_acceptance(self) -> RedfishError {
        RedfishError { accepted: true, ..self }
    }

    /// Whether the BMC may still be at it: it took the request in, or gave no answer, and has not
    /// said how it ended. Nor has a proxy in it that tired of waiting.
    pub fn is_open(&self) -> bool {
        use RedfishErrorKind as Kind;
        let unanswered = match &self.kind {
            Kind::Broken | Kind::TimedOut { .. } | Kind::Refused { status: 502 | 504, .. } => true,
            // A server error that says nothing is that of whatever died halfway.
            Kind::Refused { status: 500.., message_id, .. } => {
                message_id.is_empty() && self.effect() == Effect::Unknown
            }
            _ => false,
        };
        (self.accepted || unanswered) && !self.is_reported_failure()
    }

    pub fn effect(&self) -> Effect {
        use RedfishErrorKind as Kind;
        if self.accepted {
            return Effect::Unknown;
        }
        if !self.op.changes_something() {
            return Effect::None;
        }
        match &self.kind {
            Kind::Unreachable | Kind::Certificate | Kind::Unauthorised { .. } | Kind::Unsupported { .. } => {
                Effect::None
            }
            Kind::OtherOrigin { .. } | Kind::NoPassword { .. } | Kind::ImageProtocol { .. } => Effect::None,
            Kind::Refused { status, message_id, .. } => self.effect_of_status(*status, message_id),
            _ => Effect::Unknown,
        }
    }

    /// A refusal below 500 was decided before anything was done. Above, only one that says "not
    /// now" in so many words was: a proxy in a BMC also answers 5xx when its back end died halfway.
    fn effect_of_status(&self, status: u16, message_id: &str) -> Effect {
        let certain = match status {
            300..=499 | 501 => true,
            503 => self.retry_after.is_some() || names_one_of(message_id, &BUSY),
            _ => false,
        };
        if certain { Effect::None } else { Effect::Unknown }
    }

    /// Whether another slot of the same BMC may take the image that this one refused: it is kept for
    /// something else, is occupied, or cannot be given this kind of image (Cisco UCS, ironic).
    pub fn is_of_this_slot(&self) -> bool {
        match &self.kind {
            RedfishErrorKind::Unsupported { .. } => self.op == Op::Insert,
            RedfishErrorKind::Refused { status: 500, message_id, .. } => {
                self.op == Op::Insert && names_one_of(message_id, &OCCUPIED)
            }
            RedfishErrorKind::Refused { status, message_id, .. } => {
                let of_image = names_one_of(message_id, &["CouldNotEstablishConnection", "RAC0904"])
                    || self.concerns_the_url();
                let of_all = class_of_message(message_id) == Some(ErrorClass::NeedsOperator) || of_image;
                self.op == Op::Insert && matches!(status, 400 | 404 | 405 | 409) && !of_all
            }
            _ => false,
        }
    }

    /// Whether an insert was refused because the slot is in use now, which says nothing about the next time.
    pub fn is_of_an_occupied_slot(&self) -> bool {
        match &self.kind {
            RedfishErrorKind::Refused { status, message_id, .. } => {
                self.op == Op::Insert && (*status == 409 || names_one_of(message_id, &OCCUPIED))
            }
            _ => false,
        }
    }

    /// Whether an insert was refused for the image's URL, its protocol most likely: any slot would refuse it (OpenBMC
    /// on GH200 answers 400 `ActionParameterValueNotInList` naming `Image` where a URL is not HTTPS).
    pub fn concerns_the_url(&self) -> bool {
        const VALUE_REFUSED: [&str; 6] = [
            "ValueNotInList",
            "ValueFormatError",
            "ValueError",
            "ValueTypeError",
            "InvalidURI",
            "ProtocolMismatch",
        ];
        match &self.kind {
            RedfishErrorKind::ImageProtocol { .. } => true,
            RedfishErrorKind::Refused { message_id, message, .. } => {
                let names_it =
                    ["Image", "TransferProtocolType", "://"].iter().any(|part| message.contains(part));
                self.op == Op::Insert
                    && (names_one_of(
                        message_id,
                        &["SourceDoesNotSupportProtocol", "FileTransferProtocolMismatch"],
                    ) || (names_one_of(message_id, &VALUE_REFUSED) && names_it))
            }
            _ => false,
        }
    }

    /// Whether the same may work later, where the resource and the account have worked before: BMCs that
    /// restart, or load what they show, answer 404 or 401 for a while.
    pub fn may_pass_once_seen(&self) -> bool {
        use RedfishErrorKind as Kind;
        let is_known_to_pass = matches!(
            self.kind,
            Kind::Unauthorised { .. }
                | Kind::NoPassword { .. }
                | Kind::Refused { status: 401 | 404 | 410 | 503, .. }
        );
        is_known_to_pass || self.is_unexplained_read() || self.class() == ErrorClass::Retry
    }

    /// A read that was good before is refused without a message that says why (a body that was lost): nothing
    /// about the request can be wrong.
    fn is_unexplained_read(&self) -> bool {
        let RedfishErrorKind::Refused { status: 400, message_id, .. } = &self.kind else { return false };
        message_id.is_empty() && !self.op.changes_something()
    }

    /// Whether the resource or action is not there, or not for this method: another way may be.
    pub(super) fn is_not_there(&self) -> bool {
        !self.accepted && matches!(self.kind, RedfishErrorKind::Refused { status: 404 | 405 | 410 | 501, .. })
    }

    /// Whether the resource is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, RedfishErrorKind::Refused { status: 404 | 410, .. })
    }

    /// How long the BMC asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Characters of a path that an error keeps.
const PATH_CHARS_MAX: usize = 200;

/// Message ids, by their last part, that mean "not now".
const BUSY: [&str; 14] = [
    "UnableToModifyDuringSystemPOST",
    "InvalidOperationForSystemState",
    "ResourceInUse",
    "ResourceInStandby",
    "ResourceNotReadyRetry",
    "ServiceTemporarilyUnavailable",
    "ServiceInUnknownState",
    "ServiceShuttingDown",
    "SessionLimitExceeded",
    "ConnectionOccupied",
    "CouldNotEstablishConnection",
    // HPE iLO.
    "MaxVirtualMediaConnectionEstablished",
    // iDRAC: not ready; all sessions are in use.
    "SYS518",
    "RAC0218",
];

/// Message ids of a service that is not ready, whatever it is asked for. iDRAC: SYS518.
pub(super) const NOT_READY: [&str; 5] = [
    "ResourceNotReadyRetry",
    "ServiceTemporarilyUnavailable",
    "ServiceInUnknownState",
    "ServiceShuttingDown",
    "SYS518",
];

/// Message ids of a BMC that has no session left.
pub(super) const SESSIONS_FULL: [&str; 2] = ["SessionLimitExceeded", "RAC0218"];

/// Message ids of a slot that holds something already. Some say so with a 500.
const OCCUPIED: [&str; 2] = ["ResourceInUse", "ConnectionOccupied"];

/// Message ids of what an operator has to see to.
const OPERATOR: [&str; 6] = [
    "License",
    "InsufficientPrivilege",
    "PasswordChangeRequired",
    "AccountLocked",
    // HPE iLO, by the licence too.
    "NoScriptedVirtualMediaConnectionAvailable",
    // Huawei, xFusion: this address's protocol is not taken.
    "FileTransferProtocolMismatch",
];

/// The first that fits counts.
const OBSTACLES: [(&[&str], Obstacle); 6] = [
    (&["License", "NoScriptedVirtualMediaConnectionAvailable"], Obstacle::License),
    (&["InsufficientPrivilege"], Obstacle::Privilege),
    (&["PasswordChangeRequired", "AccountLocked"], Obstacle::Account),
    (&SESSIONS_FULL, Obstacle::Sessions),
    (&["CouldNotEstablishConnection", "RAC0904"], Obstacle::Connection),
    (&BUSY, Obstacle::Busy),
];

fn class_of_message(message_id: &str) -> Option<ErrorClass> {
    let busy = names_one_of(message_id, &BUSY).then_some(ErrorClass::Retry);
    busy.or_else(|| names_one_of(message_id, &OPERATOR).then_some(ErrorClass::NeedsOperator))
}

fn names_one_of(message_id: &str, words: &[&str]) -> bool {
    words.iter().any(|word| message_id.contains(word))
}

fn seconds(after: &Duration) -> String {
    format!("{} s", after.as_secs_f64())
}

/// ` (Base.1.8.ResourceInUse: The resource is in use.)`, as much of it as there is.
fn quoted(message_id: &str, message: &str) -> String {
    match (message_id, message) {
        ("", "") => String::new(),
        ("", text) | (text, "") => format!(" ({text})"),
        (id, text) => format!(" ({id}: {text})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_was_good_and_is_refused_without_a_reason_may_pass() {
        assert!(refused(Op::System, 400, "").may_pass_once_seen());
        assert!(!refused(Op::System, 400, "Base.1.8.PropertyUnknown").may_pass_once_seen());
        assert!(!refused(Op::Eject, 400, "").may_pass_once_seen());
    }

    fn refused(op: Op, status: u16, message_id: &str) -> RedfishError {
        let complaint = Complaint { message_id: message_id.into(), ..Complaint::default() };
        RedfishError::refused(op, "/x", status, complaint)
    }

    #[test]
    fn the_class_follows_what_the_bmc_says_and_then_its_status() {
        use ErrorClass::*;
        for (op, status, message_id, class) in [
            (Op::Insert, 400, "", Permanent),
            (Op::Insert, 400, "iLO.2.15.UnableToModifyDuringSystemPOST", Retry),
            (Op::Insert, 400, "iLO.2.15.LicenseKeyRequired", NeedsOperator),
            (Op::Reset, 400, "", Retry),
            (Op::Reset, 400, "Base.1.8.ActionParameterNotSupported", Permanent),
            (Op::Reset, 409, "", Retry),
            (Op::Reset, 503, "", Retry),
            (Op::System, 403, "", NeedsOperator),
            (Op::System, 404, "", Permanent),
            (Op::Insert, 500, "", Retry),
            (Op::Insert, 501, "", Permanent),
            (Op::Login, 400, "IDRAC.2.8.RAC0218", Retry),
            (Op::BootImport, 400, "IDRAC.2.8.RAC052", Retry),
        ] {
            assert_eq!(refused(op, status, message_id).class(), class, "{op:?} {status} {message_id}");
        }
    }

    #[test]
    fn no_effect_is_claimed_only_where_it_is_certain() {
        for (op, status, message_id, effect) in [
            (Op::Insert, 400, "", Effect::None),
            (Op::Insert, 500, "", Effect::Unknown),
            (Op::Insert, 502, "", Effect::Unknown),
            (Op::Reset, 503, "", Effect::Unknown),
            (Op::Reset, 503, "Base.1.8.ServiceTemporarilyUnavailable", Effect::None),
            (Op::System, 500, "", Effect::None),
        ] {
            assert_eq!(refused(op, status, message_id).effect(), effect, "{op:?} {status} {message_id}");
        }
        let of = |kind| RedfishError::new(Op::Reset, "/x", kind).effect();
        assert_eq!(of(RedfishErrorKind::Unreachable), Effect::None);
        assert_eq!(of(RedfishErrorKind::Broken), Effect::Unknown);
        assert_eq!(of(RedfishErrorKind::TimedOut { after: Duration::from_secs(30) }), Effect::Unknown);
    }

    #[test]
    fn the_text_says_what_was_done_and_what_the_bmc_said() {
        let complaint = Complaint {
            message_id: "Base.1.8.ResourceInUse".into(),
            message: "The resource is in use.".into(),
            ..Complaint::default()
        };
        let error = RedfishError::refused(Op::Insert, "/redfish/v1/CD1", 409, complaint);
        assert_eq!(
            error.to_string(),
            "inserting virtual media at /redfish/v1/CD1: the BMC answered 409 \
             (Base.1.8.ResourceInUse: The resource is in use.)"
        );
    }
}
