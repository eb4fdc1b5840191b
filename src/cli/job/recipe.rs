//! The recipe of a kickstart that is given on the command line, for one job or for a batch.

use serde_json::{Map, Value, json};
use url::Url;

use crate::cli::kickstart::lint::HookName;

pub struct GivenKickstart<'a> {
    pub text: &'a str,
    pub hook: Option<HookName>,
    pub esxi_url: Option<&'a Url>,
    pub esxi_sha256: Option<&'a str>,
    /// Of a template; `None` where the kickstart is none.
    pub variables: Option<Map<String, Value>>,
}

impl GivenKickstart<'_> {
    /// Without a server.
    pub fn into_recipe(self) -> Map<String, Value> {
        let mut recipe = Map::new();
        let mut set = |name: &str, value: Value| recipe.insert(name.to_owned(), value);
        set("task_target", json!("install-esxi.target"));
        set("ks_cfg", json!(self.text));
        set("completion_hook", json!(self.hook.unwrap_or_default().name()));
        if let Some(url) = self.esxi_url {
            set("esxi_installer_url", json!(url));
        }
        if let Some(sha256) = self.esxi_sha256 {
            set("esxi_installer_sha256", json!(sha256));
        }
        if let Some(variables) = self.variables {
            set("templated", json!(true));
            set("variables", Value::Object(variables));
        }
        recipe
    }
}
