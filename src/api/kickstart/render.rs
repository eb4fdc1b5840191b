//! Templates of kickstarts: a recipe's becomes the text of one server, and one alone is shown.
//!
//! Values are the recipe's `variables` over those of the server, and a fixed list of the server's record, without
//! credentials.
//! Invariant: no error holds a value, and secrets are masked unless they are requested.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shoal_kickstart::report::{is_secret_name, masked_text};
use shoal_kickstart::template::{self, Choice, Inventory, Rendered, ServerFacts, TemplateError, Values};
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::body::JsonObject;
use crate::api::error::{ApiError, Problem};
use crate::api::find;
use crate::domain::{FieldError, Fields, Kickstart, Level, NewEvent, Serial, Server};

const DISK: &str = "kickstart.disk";
/// A BMC with many drives takes about a second for each.
const DISKS_TIMEOUT: Duration = Duration::from_secs(90);

/// The text of `template` for a server. Hashes of passwords have new salts each time.
///
/// The server's BMC is read only where the template asks for a disk.
async fn render(
    state: &ApiState,
    template: &str,
    variables: Map<String, Value>,
    server: Option<&Server>,
) -> Result<Rendered, TemplateError> {
    let mut seed = [0; 32];
    state.world.rng.fill(&mut seed);
    let disks = match server {
        Some(server) if template::uses_disks(template) => read_disks(state, server).await,
        _ => Err(template::NO_SERVER.to_owned()),
    };
    let (template, server) = (template.to_owned(), server.map(facts));
    // Hashes of passwords take some milliseconds each.
    let rendering = tokio::task::spawn_blocking(move || {
        let disks = disks.as_ref().map_err(String::as_str);
        template::render(&template, &Values { variables: &variables, server: server.as_ref(), disks, seed })
    });
    rendering.await.expect("the template engine does not panic")
}

async fn read_disks(state: &ApiState, server: &Server) -> Result<Inventory, String> {
    let reading = (state.kickstart_check.disks)(server.clone());
    match tokio::time::timeout(DISKS_TIMEOUT, reading).await {
        Ok(read) => {
            read.map_err(|why| format!("the disks of server {} cannot be read: {why}", server.serial))
        }
        Err(_) => {
            let seconds = DISKS_TIMEOUT.as_secs();
            Err(format!("the BMC of server {} did not report its disks within {seconds} s", server.serial))
        }
    }
}

/// A kickstart for one server, and the events that its template led to.
pub struct RenderedRecipe {
    pub kickstart: Kickstart,
    disks: Vec<Choice>,
}

impl RenderedRecipe {
    /// An event for each disk that was chosen.
    pub fn events(&self, time: Timestamp) -> Vec<NewEvent> {
        let event = |choice: &Choice| {
            let Choice { hints, device, disk, confidence } = choice;
            let confidence = confidence.name();
            let message =
                format!("disk(\"{hints}\") is {device}: {disk}; ESXi uses this name: {confidence}.");
            let detail = json!({ "hints": hints, "device": device, "disk": disk, "confidence": confidence });
            super::event(time, DISK, Level::Info, message, detail)
        };
        self.disks.iter().map(event).collect()
    }
}

/// What a template may know of a server.
fn facts(server: &Server) -> ServerFacts {
    ServerFacts {
        serial: server.serial.to_string(),
        management_address: server.management_address.clone(),
        labels: server.labels.clone(),
    }
}

/// The template of a recipe, rendered for this server; or why it cannot be.
pub async fn of_recipe(
    state: &ApiState,
    recipe: &Map<String, Value>,
    template: &Kickstart,
    server: &Server,
) -> Result<RenderedRecipe, String> {
    let variables = recipe.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
    let variables = server.variables.under(variables);
    match render(state, template.expose(), variables, Some(server)).await {
        Ok(rendered) if rendered.text.trim().is_empty() => Err("the rendered kickstart is empty".to_owned()),
        Ok(Rendered { text, disks }) => Ok(RenderedRecipe { kickstart: Kickstart::new(text), disks }),
        Err(error) => Err(error.to_string()),
    }
}

/// A template to be rendered.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct RenderInput {
    /// At most 65,536 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 65536)]
    ks_cfg: String,
    /// At most 16 KiB; they come before those of the server.
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
    /// The server that `server.*` means; without one it is undefined.
    #[schema(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]
    server_serial: Option<String>,
    /// Default: passwords, hashes, keys and the values of variables that are named like secrets are
    /// shown as stars.
    #[schema(value_type = Option<bool>, default = false)]
    show_secrets: bool,
}

/// A rendered template.
#[derive(Debug, Serialize, ToSchema)]
pub struct RenderBody {
    ks_cfg: String,
    /// Whether secrets are shown as stars, and with them the rest of lines that may hold one.
    masked: bool,
    /// What `disk()` chose.
    disks: Vec<DiskBody>,
}

/// A disk that a template chose.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiskBody {
    /// The hints of the template.
    hints: String,
    /// ESXi's name of it.
    device: String,
    /// What the disk is, as its BMC reports it.
    disk: String,
    /// How sure it is that ESXi uses this name: `certain` for a RAID volume, else `likely`.
    #[schema(pattern = "^(certain|likely)$")]
    confidence: &'static str,
}

impl From<Choice> for DiskBody {
    fn from(choice: Choice) -> DiskBody {
        let Choice { hints, device, disk, confidence } = choice;
        DiskBody { hints, device, disk, confidence: confidence.name() }
    }
}

/// Show what a template becomes. Nothing is stored.
#[utoipa::path(post, path = "/api/v1/kickstart/render", tag = "kickstart", request_body = RenderInput,
    responses((status = 200, body = RenderBody),
        (status = 404, description = "No such server", body = Problem),
        (status = 422, description = "The template cannot be rendered", body = Problem)))]
pub async fn render_one(
    State(state): State<ApiState>,
    JsonObject(body): JsonObject,
) -> Result<Json<RenderBody>, ApiError> {
    let request = RenderRequest::read(&body)?;
    let server = match &request.server {
        Some(serial) => Some(find::server(&state, serial).await?),
        None => None,
    };
    let variables = match &server {
        Some(server) => server.variables.under(request.variables),
        None => request.variables,
    };
    let rendered = render(&state, &request.template, variables.clone(), server.as_ref()).await;
    let Rendered { text, disks } = rendered
        .map_err(|error| ApiError::invalid(CANNOT, vec![FieldError::of_key("ks_cfg", error.to_string())]))?;
    let masked = !request.show_secrets;
    let ks_cfg = if masked { masked_text(text.as_bytes(), &secrets(&variables)) } else { text };
    Ok(Json(RenderBody { ks_cfg, masked, disks: disks.into_iter().map(DiskBody::from).collect() }))
}

const CANNOT: &str = "the template cannot be rendered";

/// Values of variables that are named like secrets.
fn secrets(variables: &Map<String, Value>) -> Vec<&str> {
    let named = variables.iter().filter(|(name, _)| is_secret_name(name));
    named.filter_map(|(_, value)| value.as_str()).collect()
}

struct RenderRequest {
    template: String,
    variables: Map<String, Value>,
    server: Option<Serial>,
    show_secrets: bool,
}

impl RenderRequest {
    fn read(body: &Map<String, Value>) -> Result<RenderRequest, ApiError> {
        let mut fields = Fields::new(body, &["ks_cfg", "variables", "server_serial", "show_secrets"]);
        let template = super::text(&mut fields);
        let variables = fields.object("variables").over(None).cloned().unwrap_or_default();
        let server = fields.parsed("server_serial", str::parse::<Serial>).over(None);
        let show_secrets = fields.flag("show_secrets");
        match fields.errors.is_empty() {
            true => Ok(RenderRequest { template, variables, server, show_secrets }),
            false => Err(ApiError::invalid(CANNOT, fields.errors)),
        }
    }
}
