//! Error bodies: messages of the Base registry, each with its status code.
//!
//! Every function is one message and returns it boxed, as the error that a handler ends with: what a client decides
//! by is the status and the `MessageId`, so both are chosen as real services do. `about` names the property,
//! `critical` raises the severity, `with` adds the header that belongs to the status (`Allow`, `Retry-After`).
//!
//! Source: DMTF DSP8011, Base 1.18 (SYS518 is Dell's own). Invariant: the `MessageId` is in the registry, and
//! `MessageArgs` are the words that the sentence was made with.

use std::time::Duration;

use http::StatusCode;
use http::header;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

/// A refusal: the message that the error body carries.
pub type Refusal = Box<Message>;

/// One message, with the status and the header of the answer that carries it.
#[derive(Debug)]
pub struct Message {
    pub status: StatusCode,
    id: &'static str,
    text: String,
    args: Vec<String>,
    /// A JSON pointer to what it is about.
    property: Option<String>,
    severity: &'static str,
    pub header: Option<(header::HeaderName, String)>,
}

fn message(status: u16, id: &'static str, text: String, args: &[&str]) -> Message {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Message { status, id, text, args, property: None, severity: "Warning", header: None }
}

/// What the registry advises; for most messages there is nothing that the caller's operator could do.
fn resolution(id: &str) -> &'static str {
    match id {
        "ActionParameterValueNotInList" => "Choose a value from the list that the service supports.",
        "CouldNotEstablishConnection" => {
            "Check that the URI names a node that the service can reach, and a protocol that it speaks."
        }
        "FileTransferProtocolMismatch" => "Use a supported protocol, such as NFS or CIFS.",
        "InsufficientPrivilege" => "Use an account that has the privilege.",
        "SessionLimitExceeded" => "Reduce the number of other sessions before establishing another.",
        _ => "None.",
    }
}

impl Message {
    /// Names the property that it is about, by a JSON pointer.
    fn about(self, pointer: String) -> Message {
        Message { property: Some(pointer), ..self }
    }

    fn critical(self) -> Message {
        Message { severity: "Critical", ..self }
    }

    fn with(self, name: header::HeaderName, value: String) -> Message {
        Message { header: Some((name, value)), ..self }
    }

    fn refuse(self) -> Refusal {
        Box::new(self)
    }

    pub fn general() -> Refusal {
        message(
            500,
            "GeneralError",
            "A general error has occurred. See Resolution for information on how to resolve the error."
                .into(),
            &[],
        )
        .critical()
        .refuse()
    }

    pub fn internal() -> Refusal {
        message(
            500,
            "InternalError",
            "The request failed due to an internal service error. The service is still operational.".into(),
            &[],
        )
        .critical()
        .refuse()
    }

    pub fn malformed_json() -> Refusal {
        message(
            400,
            "MalformedJSON",
            "The request body submitted was malformed JSON and could not be parsed by the receiving service."
                .into(),
            &[],
        )
        .critical()
        .refuse()
    }

    pub fn no_operation() -> Refusal {
        message(400, "NoOperation", "The request body submitted contain no data to act upon and no changes to the resource took place.".into(), &[]).refuse()
    }

    pub fn property_unknown(name: &str) -> Refusal {
        let text = format!("The property {name} is not in the list of valid properties for the resource.");
        message(400, "PropertyUnknown", text, &[name]).about(format!("#/{name}")).refuse()
    }

    pub fn property_not_writable(name: &str) -> Refusal {
        let text = format!("The property {name} is a read only property and cannot be assigned a value.");
        message(400, "PropertyNotWritable", text, &[name]).about(format!("#/{name}")).refuse()
    }

    pub fn property_missing(name: &str) -> Refusal {
        let text = format!("The property {name} is a required property and must be included in the request.");
        message(400, "PropertyMissing", text, &[name]).about(format!("#/{name}")).refuse()
    }

    pub fn property_type(name: &str, value: &Value) -> Refusal {
        let text = format!(
            "The value '{value}' for the property {name} is not a type that the property can accept."
        );
        message(400, "PropertyValueTypeError", text, &[&value.to_string(), name])
            .about(format!("#/{name}"))
            .refuse()
    }

    pub fn property_value(name: &str, value: &str) -> Refusal {
        let text =
            format!("The value '{value}' for the property {name} is not in the list of acceptable values.");
        message(400, "PropertyValueNotInList", text, &[value, name]).about(format!("#/{name}")).refuse()
    }

    pub fn parameter_missing(action: &str, name: &str) -> Refusal {
        let text =
            format!("The action {action} requires the parameter {name} to be present in the request body.");
        message(400, "ActionParameterMissing", text, &[action, name]).about(format!("#/{name}")).refuse()
    }

    pub fn parameter_unknown(action: &str, name: &str) -> Refusal {
        let text = format!("The action {action} was submitted with the invalid parameter {name}.");
        message(400, "ActionParameterUnknown", text, &[action, name]).about(format!("#/{name}")).refuse()
    }

    pub fn parameter_type(action: &str, name: &str, value: &Value) -> Refusal {
        let text = format!(
            "The value '{value}' for the parameter {name} in the action {action} is not a type that the \
             parameter can accept."
        );
        message(400, "ActionParameterValueTypeError", text, &[&value.to_string(), name, action])
            .about(format!("#/{name}"))
            .refuse()
    }

    pub fn parameter_value(action: &str, name: &str, value: &str) -> Refusal {
        let text = format!(
            "The value '{value}' for the parameter {name} in the action {action} is not in the list of \
             acceptable values."
        );
        message(400, "ActionParameterValueNotInList", text, &[value, name, action])
            .about(format!("#/{name}"))
            .refuse()
    }

    pub fn parameter_format(action: &str, name: &str, value: &str) -> Refusal {
        let text = format!(
            "The value '{value}' for the parameter {name} in the action {action} is not a format that the \
             parameter can accept."
        );
        message(400, "ActionParameterValueFormatError", text, &[value, name, action])
            .about(format!("#/{name}"))
            .refuse()
    }

    pub fn parameter_conflict(name: &str, value: &str) -> Refusal {
        let text = format!(
            "The parameter {name} with the requested value of '{value}' does not meet the constraints of the \
             implementation."
        );
        message(409, "ActionParameterValueConflict", text, &[name, value]).refuse()
    }

    /// HPE's `UnableToModifyDuringSystemPOST` in the standard's words.
    pub fn in_post() -> Refusal {
        let text = "The request failed because the host is in its power-on self test.".to_owned();
        message(400, "OperationFailed", text, &[]).refuse()
    }

    /// A reset that was accepted and did not happen.
    pub fn reset_failed() -> Refusal {
        let text = "The reset of the host failed: its power supplies are not ready.".to_owned();
        message(400, "OperationFailed", text, &[]).critical().refuse()
    }

    /// A slot that takes no images, whatever it shows.
    pub fn not_for_images() -> Refusal {
        let text = "The action VirtualMedia.InsertMedia is not supported by the resource.".to_owned();
        message(400, "ActionNotSupported", text, &["VirtualMedia.InsertMedia"]).refuse()
    }

    /// A slot that will not have an image, in the words that go with each status.
    pub fn of_this_slot(status: u64) -> Refusal {
        let (status, id, text) = match status {
            405 => (405, "OperationNotAllowed", "The HTTP method is not allowed on this resource."),
            409 => (409, "ResourceInUse", "The resource is in use or in transition."),
            500 => (500, "ResourceInUse", "The resource is in use or in transition."),
            _ => (400, "ActionNotSupported", "The action is not supported by the resource."),
        };
        message(status, id, text.to_owned(), &[]).refuse()
    }

    /// Dell's: the configuration cannot be changed while a job does so.
    pub fn job_running() -> Refusal {
        let text = "Unable to start the operation because another job is already running.".to_owned();
        message(400, "OperationFailed", text, &[]).refuse()
    }

    /// HPE's own word for it.
    pub fn unable_in_post() -> Refusal {
        let text = "Unable to modify during system POST.".to_owned();
        message(400, "UnableToModifyDuringSystemPOST", text, &[]).refuse()
    }

    /// Huawei's and xFusion's word for an image whose scheme is not taken.
    pub fn protocol_mismatch(url: &str) -> Refusal {
        let scheme = url.split(':').next().unwrap_or_default();
        let text = format!("The file transfer protocol {scheme} is not supported here.");
        message(400, "FileTransferProtocolMismatch", text, &[scheme]).refuse()
    }

    pub fn precondition_required() -> Refusal {
        let text = "The request needs an If-Match header with the resource's ETag.".to_owned();
        message(428, "PreconditionRequired", text, &[]).refuse()
    }

    /// `$expand` and its like, which ServiceRoot says are not there.
    pub fn query_not_supported() -> Refusal {
        let text = "Querying is not supported by the implementation.".to_owned();
        message(501, "QueryNotSupported", text, &[]).refuse()
    }

    pub fn in_standby() -> Refusal {
        let text = "The request could not be performed because the resource is in standby.".to_owned();
        message(409, "ResourceInStandby", text, &[]).refuse()
    }

    pub fn in_use() -> Refusal {
        let text =
            "The change to the requested resource failed because the resource is in use or in transition.";
        message(409, "ResourceInUse", text.to_owned(), &[]).refuse()
    }

    pub fn exists(kind: &str, property: &str, value: &str) -> Refusal {
        let text = format!(
            "The requested resource of type {kind} with the property {property} with the value '{value}' \
             already exists."
        );
        message(409, "ResourceAlreadyExists", text, &[kind, property, value]).refuse()
    }

    pub fn cannot_be_deleted() -> Refusal {
        let text = "The delete request failed because the resource requested cannot be deleted.".to_owned();
        message(403, "ResourceCannotBeDeleted", text, &[]).critical().refuse()
    }

    pub fn missing(path: &str) -> Refusal {
        let text = format!("The resource at the URI '{path}' was not found.");
        message(404, "ResourceMissingAtURI", text, &[path]).critical().refuse()
    }

    /// `allow` lists the methods that are.
    pub fn method_not_allowed(allow: String) -> Refusal {
        let text = "The HTTP method is not allowed on this resource.".to_owned();
        message(405, "OperationNotAllowed", text, &[]).with(header::ALLOW, allow).refuse()
    }

    pub fn precondition_failed() -> Refusal {
        let text = "The ETag supplied did not match the ETag required to change this resource.".to_owned();
        message(412, "PreconditionFailed", text, &[]).critical().refuse()
    }

    pub fn no_valid_session() -> Refusal {
        let text = "There is no valid session established with the implementation.".to_owned();
        message(401, "NoValidSession", text, &[])
            .critical()
            .with(header::WWW_AUTHENTICATE, "Basic realm=\"Redfish\", charset=\"UTF-8\"".to_owned())
            .refuse()
    }

    /// A login with wrong credentials.
    pub fn unauthorised() -> Refusal {
        let text = "While accessing the resource at '/redfish/v1/SessionService/Sessions', the service \
                    received an authorization error unauthorized.";
        message(
            401,
            "ResourceAtUriUnauthorized",
            text.to_owned(),
            &["/redfish/v1/SessionService/Sessions", "unauthorized"],
        )
        .critical()
        .with(header::WWW_AUTHENTICATE, "Basic realm=\"Redfish\", charset=\"UTF-8\"".to_owned())
        .refuse()
    }

    pub fn insufficient_privilege() -> Refusal {
        let text = "There are insufficient privileges for the account or credentials associated with the \
                    current session to perform the requested operation.";
        message(403, "InsufficientPrivilege", text.to_owned(), &[]).critical().refuse()
    }

    pub fn password_change_required(account: &str) -> Refusal {
        let uri = format!("/redfish/v1/AccountService/Accounts/{account}");
        let text = format!(
            "The password provided for this account must be changed before access is granted. PATCH the \
             Password property for this account located at the target URI '{uri}' to complete this process."
        );
        message(403, "PasswordChangeRequired", text, &[&uri]).critical().refuse()
    }

    pub fn session_limit() -> Refusal {
        let text = "The session establishment failed due to the number of simultaneous sessions exceeding \
                    the limit of the implementation.";
        message(503, "SessionLimitExceeded", text.to_owned(), &[]).critical().refuse()
    }

    /// An iDRAC that has been restarted; some answer a login with 401 and this.
    pub fn not_ready(status: u16) -> Refusal {
        let text = "iDRAC is not ready. The configuration values cannot be accessed.".to_owned();
        message(status, "SYS518", text, &[]).critical().refuse()
    }

    pub fn unavailable(wait: Duration) -> Refusal {
        let secs = wait.as_secs().max(1).to_string();
        let text = format!("The service is temporarily unavailable. Retry in {secs} seconds.");
        message(503, "ServiceTemporarilyUnavailable", text, &[&secs])
            .critical()
            .with(header::RETRY_AFTER, secs)
            .refuse()
    }

    /// Too many requests: the standard has no word of its own for it.
    pub fn throttled(wait: Duration) -> Refusal {
        let secs = wait.as_secs().max(1).to_string();
        let text =
            "A general error has occurred. See Resolution for information on how to resolve the error.";
        message(429, "GeneralError", text.to_owned(), &[]).with(header::RETRY_AFTER, secs).refuse()
    }

    /// The BMC cannot read the image of an insert.
    pub fn cannot_fetch(url: &str) -> Refusal {
        let text = format!("The service failed to establish a connection with the URI '{url}'.");
        message(400, "CouldNotEstablishConnection", text, &[url]).critical().refuse()
    }

    /// The same, with the URL and its parts quoted as a log line would.
    pub fn quotes(url: &str) -> Refusal {
        let decoded = percent_decode_str(url).decode_utf8_lossy();
        let encoded = utf8_percent_encode(url, NON_ALPHANUMERIC);
        let after_scheme = decoded.split_once("://").map_or(&*decoded, |(_, rest)| rest);
        let (login, rest) = after_scheme.rsplit_once('@').unwrap_or(("none:nothing", after_scheme));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let text = format!(
            "{password} is the password of {user} at '{url}' ({decoded}, {encoded}) with {query}: cannot connect."
        );
        message(400, "CouldNotEstablishConnection", text, &[url]).critical().refuse()
    }

    /// One element of `@Message.ExtendedInfo`.
    pub fn entry(&self) -> Value {
        let mut entry = json!({
            "@odata.type": "#Message.v1_2_1.Message",
            "MessageId": format!("Base.1.18.{}", self.id),
            "Message": self.text,
            "MessageArgs": self.args,
            "MessageSeverity": self.severity,
            "Severity": self.severity,
            "Resolution": resolution(self.id),
        });
        if let Some(property) = &self.property {
            entry["RelatedProperties"] = json!([property]);
        }
        entry
    }

    /// The whole error body.
    pub fn body(&self) -> Value {
        json!({ "error": {
            "code": format!("Base.1.18.{}", self.id),
            "message": self.text,
            "@Message.ExtendedInfo": [self.entry()],
        }})
    }
}
