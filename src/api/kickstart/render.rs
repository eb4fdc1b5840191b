//! Templates of kickstarts: a recipe's becomes the text of one server, and one alone is shown.
//!
//! Values are the recipe's `variables` and a fixed list of the server's record, without credentials.
//! Invariant: no error holds a value, and secrets are masked unless they are asked for.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use shoal_kickstart::report::{is_secret_name, masked_text};
use shoal_kickstart::template::{self, ServerFacts, TemplateError, Values};
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::body::JsonObject;
use crate::api::error::{ApiError, Problem};
use crate::api::fields::Fields;
use crate::api::servers;
use crate::domain::{FieldError, Kickstart, Serial, Server};
use shoal_base::world::World;

/// The text of `template` for a server. Hashes of passwords have new salts each time.
pub async fn render(
    world: &World,
    template: &str,
    variables: Map<String, Value>,
    server: Option<&Server>,
) -> Result<String, TemplateError> {
    let mut seed = [0; 32];
    world.rng.fill(&mut seed);
    let (template, server) = (template.to_owned(), server.map(facts));
    // Hashes of passwords take some milliseconds each.
    let rendering = tokio::task::spawn_blocking(move || {
        template::render(&template, &Values { variables: &variables, server: server.as_ref(), seed })
    });
    rendering.await.expect("the template engine does not panic")
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
    world: &World,
    recipe: &Map<String, Value>,
    template: &Kickstart,
    server: &Server,
) -> Result<Kickstart, String> {
    let variables = recipe.get("variables").and_then(Value::as_object).cloned().unwrap_or_default();
    match render(world, template.expose(), variables, Some(server)).await {
        Ok(text) if text.trim().is_empty() => Err("the rendered kickstart is empty".to_owned()),
        Ok(text) => Ok(Kickstart::new(text)),
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
    /// At most 16 KiB.
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
    let request = Request::read(&body)?;
    let server = match &request.server {
        Some(serial) => Some(servers::find(&state, serial).await?),
        None => None,
    };
    let rendered = render(&state.world, &request.template, request.variables.clone(), server.as_ref()).await;
    let text = rendered
        .map_err(|error| ApiError::invalid(CANNOT, vec![FieldError::of_key("ks_cfg", error.to_string())]))?;
    let masked = !request.show_secrets;
    let ks_cfg = if masked { masked_text(text.as_bytes(), &secrets(&request.variables)) } else { text };
    Ok(Json(RenderBody { ks_cfg, masked }))
}

const CANNOT: &str = "the template cannot be rendered";

/// Values of variables that are named like secrets.
fn secrets(variables: &Map<String, Value>) -> Vec<&str> {
    let named = variables.iter().filter(|(name, _)| is_secret_name(name));
    named.filter_map(|(_, value)| value.as_str()).collect()
}

struct Request {
    template: String,
    variables: Map<String, Value>,
    server: Option<Serial>,
    show_secrets: bool,
}

impl Request {
    fn read(body: &Map<String, Value>) -> Result<Request, ApiError> {
        let mut fields = Fields::new(body, &["ks_cfg", "variables", "server_serial", "show_secrets"]);
        let template = super::text(&mut fields, body);
        let variables = match body.get("variables") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(variables)) => variables.clone(),
            Some(_) => {
                fields.refuse("variables", "must be an object");
                Map::new()
            }
        };
        let server = fields.parsed("server_serial", str::parse::<Serial>).over(None);
        let show_secrets = fields.boolean("show_secrets").over(None).unwrap_or(false);
        match fields.errors.is_empty() {
            true => Ok(Request { template, variables, server, show_secrets }),
            false => Err(ApiError::invalid(CANNOT, fields.errors)),
        }
    }
}
