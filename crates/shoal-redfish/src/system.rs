//! A System as a BMC shows it.
//!
//! Pure: JSON in, facts out. It does not choose among systems. Invariant: what is `None` or empty
//! here was absent, `null`, empty or a known placeholder; nothing is guessed.

use std::fmt;
use std::str::FromStr;
use strum::{IntoStaticStr, VariantArray};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;

/// A ComputerSystem, read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct System {
    /// `@odata.id`.
    pub link: String,
    pub id: String,
    pub name: String,
    /// Trimmed; absent where the BMC shows a placeholder such as `Not Specified`.
    pub serial: Option<String>,
    /// `SKU`. Dell's is the service tag; on other makes it may be a product number that many servers share.
    pub sku: Option<String>,
    /// Lower case.
    pub uuid: Option<String>,
    pub power: Option<PowerState>,
    pub boot: Boot,
    pub boot_progress: Option<BootProgress>,
    /// As the BMC writes it; absent for the zero dates `0000-…` (iDRAC 7.10) and `1970-…` (NVIDIA).
    pub last_reset_time: Option<String>,
    /// `BootProgress.LastBootTimeSeconds`, as the BMC writes it.
    pub last_boot_time_seconds: Option<String>,
    /// HPE's `PostState`.
    pub post_state: Option<String>,
    /// Lenovo's `NumberOfReboots`, as the BMC writes it.
    pub number_of_reboots: Option<String>,
    /// Advertised reset types; empty where the BMC advertises none.
    pub reset_types: Vec<ResetType>,
    pub can_reset: bool,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    /// Why it could not be read, of a member of the collection that gave no answer. Nothing but
    /// `link` and `id` is known of it then.
    pub unread: Option<String>,
    pub(super) reset: Action,
    /// The collection of its virtual media slots.
    pub(super) virtual_media: Option<String>,
    pub(super) managed_by: Vec<String>,
    pub(super) etag: Option<String>,
    /// `@Redfish.Settings`: where some BMCs take changes.
    pub(super) settings: Option<String>,
    /// The settings object holds the override, with this tag.
    pub(super) settings_boot: Option<SettingsBoot>,
}

impl System {
    /// Whether it is the machine with exactly this serial number.
    pub fn has_serial(&self, serial: &str) -> bool {
        self.serial_numbers().any(|found| found == serial)
    }

    /// What counts as its serial number: its own, and the service tag; without blanks around them.
    pub fn serial_numbers(&self) -> impl Iterator<Item = &str> {
        self.serial.as_deref().into_iter().chain(self.service_tag()).map(str::trim)
    }

    /// Dell's: some boards have a part number of their own as `SerialNumber`, and the service tag as `SKU`.
    pub fn service_tag(&self) -> Option<&str> {
        let is_dell = self.manufacturer.as_deref().is_some_and(|maker| maker.starts_with("Dell"));
        self.sku.as_deref().filter(|_| is_dell)
    }

    /// Whether it is a host that could be installed: GPU baseboards have neither a reset nor a
    /// boot override (NVIDIA DGX, GB200).
    pub fn is_host(&self) -> bool {
        self.unread.is_none() && (self.can_reset || self.boot.is_overridable())
    }
}

/// `Boot`, of the resource where the override is set (the settings object on AMI and NVIDIA).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Boot {
    /// `BootSourceOverrideEnabled`: `Once`, `Continuous`, `Disabled`.
    pub enabled: Option<String>,
    /// `BootSourceOverrideTarget`.
    pub target: Option<String>,
    /// `BootSourceOverrideMode`: `UEFI` or `Legacy`.
    pub mode: Option<String>,
    /// Empty where the BMC advertises none.
    pub allowed_targets: Vec<String>,
    pub(super) allowed_modes: Vec<String>,
    /// The collection of its boot options.
    pub(super) options: Option<String>,
    /// `BootNext`: whether it has that property, and what it says.
    #[serde(deserialize_with = "read_even_null", skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Option<String>>,
    /// `UefiTargetBootSourceOverride`.
    pub(super) uefi_target: Option<String>,
}

/// A property that is there, and is null, is not one that is absent.
fn read_even_null<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Boot {
    /// Whether it has a boot override at all (HPE Cray EX has boot options and no override).
    pub fn is_overridable(&self) -> bool {
        self.enabled.is_some() || self.target.is_some() || !self.allowed_targets.is_empty()
    }
}

/// `BootProgress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootProgress {
    /// `LastState`.
    pub state: String,
    /// `LastStateTime`, as the BMC writes it; absent for zero dates.
    pub time: Option<String>,
}

/// `PowerState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
pub enum PowerState {
    On,
    Off,
    PoweringOn,
    PoweringOff,
    Paused,
    /// A word that Redfish does not know.
    Other,
}

impl PowerState {
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn parse(word: &str) -> PowerState {
        use PowerState::*;
        let known = [On, Off, PoweringOn, PoweringOff, Paused];
        known.into_iter().find(|state| state.name().eq_ignore_ascii_case(word)).unwrap_or(Other)
    }
}

/// `ResetType`. Types that no workflow asks for are left out.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
pub enum ResetType {
    On,
    ForceOn,
    ForceOff,
    GracefulShutdown,
    GracefulRestart,
    ForceRestart,
    PowerCycle,
    PushPowerButton,
    Nmi,
}

impl ResetType {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for ResetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is none of [`ResetType`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a reset type that this client knows")]
pub struct UnknownResetType(pub String);

impl FromStr for ResetType {
    type Err = UnknownResetType;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = ResetType::VARIANTS.iter().copied().find(|reset| reset.name() == word);
        known.ok_or_else(|| UnknownResetType(word.to_owned()))
    }
}

/// An action as a resource advertises it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Action {
    pub(super) target: Option<String>,
    /// `@Redfish.ActionInfo`.
    pub(super) info: Option<String>,
}

impl Action {
    /// Of `Actions`, by its full name such as `#ComputerSystem.Reset`.
    pub(super) fn parse(resource: &Value, name: &str) -> Action {
        let action = resource.get("Actions").and_then(|actions| actions.get(name)).unwrap_or(&Value::Null);
        Action::of(action)
    }

    /// Of `Oem.*.Actions`, by its full name.
    pub(super) fn parse_oem(resource: &Value, name: &str) -> Action {
        let oems = resource.get("Oem").and_then(Value::as_object).into_iter().flatten();
        let found = oems.filter_map(|(_, oem)| oem.get("Actions")?.get(name)).next();
        Action::of(found.unwrap_or(&Value::Null))
    }

    pub(super) fn of(action: &Value) -> Action {
        Action { target: json::link(action, "/target"), info: json::link(action, "/@Redfish.ActionInfo") }
    }
}

/// The override as the settings object holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SettingsBoot {
    pub(super) etag: Option<String>,
}

/// Reads a System; `link` stands in where the resource does not name itself.
pub(super) fn parse_system(link: &str, body: &Value, etag: Option<String>) -> System {
    let reset = Action::parse(body, "#ComputerSystem.Reset");
    System {
        link: link.to_owned(),
        id: json::text(body, "/Id").unwrap_or_else(|| last_segment(link).to_owned()),
        name: json::text(body, "/Name").unwrap_or_default(),
        serial: json::text(body, "/SerialNumber").filter(|serial| !is_placeholder(serial)),
        sku: json::text(body, "/SKU").filter(|sku| !is_placeholder(sku)),
        uuid: json::text(body, "/UUID").map(|uuid| uuid.to_ascii_lowercase()).filter(|uuid| !is_zero(uuid)),
        power: json::text(body, "/PowerState").map(|word| PowerState::parse(&word)),
        boot: parse_boot(body),
        boot_progress: parse_boot_progress(body),
        last_reset_time: json::text(body, "/LastResetTime").filter(|time| !is_zero_date(time)),
        last_boot_time_seconds: json::text(body, "/BootProgress/LastBootTimeSeconds"),
        post_state: json::text(body, "/Oem/Hpe/PostState").or_else(|| json::text(body, "/Oem/Hp/PostState")),
        number_of_reboots: json::text(body, "/Oem/Lenovo/NumberOfReboots"),
        reset_types: parse_reset_types(body),
        can_reset: reset.target.is_some(),
        manufacturer: json::text(body, "/Manufacturer"),
        model: json::text(body, "/Model"),
        unread: None,
        reset,
        virtual_media: json::link(body, "/VirtualMedia"),
        managed_by: json::links(body, "/Links/ManagedBy"),
        etag,
        settings: json::link(body, "/@Redfish.Settings/SettingsObject"),
        settings_boot: None,
    }
}

/// `Boot` of a System or of its settings object.
pub(super) fn parse_boot(body: &Value) -> Boot {
    Boot {
        enabled: json::text(body, "/Boot/BootSourceOverrideEnabled"),
        target: json::text(body, "/Boot/BootSourceOverrideTarget"),
        mode: json::text(body, "/Boot/BootSourceOverrideMode"),
        allowed_targets: json::texts(body, "/Boot/BootSourceOverrideTarget@Redfish.AllowableValues"),
        allowed_modes: json::texts(body, "/Boot/BootSourceOverrideMode@Redfish.AllowableValues"),
        options: json::link(body, "/Boot/BootOptions"),
        next: body.pointer("/Boot/BootNext").map(|_| json::text(body, "/Boot/BootNext")),
        uefi_target: json::text(body, "/Boot/UefiTargetBootSourceOverride"),
    }
}

fn parse_boot_progress(body: &Value) -> Option<BootProgress> {
    let state = json::text(body, "/BootProgress/LastState").or_else(|| json::text(body, "/BootProgress"))?;
    let time = json::text(body, "/BootProgress/LastStateTime").filter(|time| !is_zero_date(time));
    Some(BootProgress { state, time })
}

fn parse_reset_types(body: &Value) -> Vec<ResetType> {
    reset_types(&json::texts(body, INLINE_RESET_TYPES))
}

const INLINE_RESET_TYPES: &str = "/Actions/#ComputerSystem.Reset/ResetType@Redfish.AllowableValues";

/// Whether there is an inline list of reset types, all of which Redfish knows.
pub(super) fn has_clean_reset_types(body: &Value) -> bool {
    const OTHERS: [&str; 4] = ["FullPowerCycle", "Pause", "Resume", "Suspend"];
    let words = json::texts(body, INLINE_RESET_TYPES);
    let is_known = |word: &String| OTHERS.contains(&word.as_str()) || word.parse::<ResetType>().is_ok();
    !words.is_empty() && words.iter().all(is_known)
}

/// The reset types among `words`, each once.
pub(super) fn reset_types(words: &[String]) -> Vec<ResetType> {
    let mut types: Vec<ResetType> = Vec::new();
    for reset in words.iter().filter_map(|word| word.parse().ok()) {
        if !types.contains(&reset) {
            types.push(reset);
        }
    }
    types
}

pub(super) fn last_segment(link: &str) -> &str {
    link.trim_end_matches('/').rsplit('/').next().unwrap_or(link)
}

/// What boards say that were never given a serial number.
fn is_placeholder(serial: &str) -> bool {
    const PLACEHOLDERS: [&str; 11] = [
        "not specified",
        "not available",
        "not applicable",
        "none",
        "null",
        "n/a",
        "na",
        "unknown",
        "default string",
        "to be filled by o.e.m.",
        "system serial number",
    ];
    PLACEHOLDERS.contains(&serial.to_ascii_lowercase().as_str()) || is_zero(serial)
}

fn is_zero(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '0' | '-'))
}

/// A BMC that has no date says year 0 or the beginning of Unix time.
fn is_zero_date(time: &str) -> bool {
    time.get(..4).and_then(|year| year.parse::<u16>().ok()).is_some_and(|year| year <= 1970)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value) -> System {
        parse_system("/redfish/v1/Systems/1", &body, None)
    }

    #[test]
    fn a_system_of_nulls_and_wrong_types_is_an_empty_system() {
        for nothing in [json!(null), json!(""), json!([]), json!({}), json!(false)] {
            let system = parse(json!({
                "Id": nothing, "SerialNumber": nothing, "UUID": nothing, "PowerState": nothing, "Boot": nothing,
                "BootProgress": nothing, "LastResetTime": nothing, "Actions": nothing, "Links": nothing,
                "Oem": nothing, "VirtualMedia": nothing, "@Redfish.Settings": nothing,
            }));
            let want = System { link: "/redfish/v1/Systems/1".into(), id: "1".into(), ..System::default() };
            assert_eq!(system, want, "{nothing}");
            assert!(!system.is_host());
        }
    }

    /// NVIDIA BlueField-3 24.10 has an empty one, which a saved system had forgotten.
    #[test]
    fn a_saved_system_knows_that_it_has_a_boot_next() {
        for body in [json!({"Boot": {"BootNext": ""}}), json!({"Boot": {"BootNext": "Boot0001"}}), json!({})]
        {
            let system = parse(body);
            let saved = serde_json::to_string(&system).unwrap();
            assert_eq!(serde_json::from_str::<System>(&saved).unwrap(), system);
        }
    }

    #[test]
    fn placeholders_are_no_serial_number() {
        for serial in ["          ", "Not Specified", "None", "N/A", "To be filled by O.E.M.", "0000000000"] {
            assert_eq!(parse(json!({ "SerialNumber": serial })).serial, None, "{serial}");
        }
        assert_eq!(parse(json!({ "SerialNumber": " ABC123 " })).serial.as_deref(), Some("ABC123"));
        assert_eq!(
            parse(json!({ "SerialNumber": 2202539802597u64 })).serial.as_deref(),
            Some("2202539802597")
        );
    }

    #[test]
    fn dates_of_nowhere_are_no_dates() {
        for time in
            ["0000-00-00T00:00:00+00:00", "1970-01-01T00:00:00+00:00", "1970-01-21T01:08:26.189979+00:00"]
        {
            let system = parse(
                json!({"LastResetTime": time, "BootProgress": {"LastState": "OEM", "LastStateTime": time}}),
            );
            assert_eq!(system.last_reset_time, None);
            assert_eq!(system.boot_progress, Some(BootProgress { state: "OEM".into(), time: None }));
        }
        let real = parse(json!({ "LastResetTime": "2024-06-11T00:14:47-05:00" }));
        assert_eq!(real.last_reset_time.as_deref(), Some("2024-06-11T00:14:47-05:00"));
    }

    #[test]
    fn vendors_own_signs_of_a_boot_are_read() {
        let hpe = parse(json!({
            "Oem": { "Hpe": { "PostState": "InPost" } },
            "BootProgress": { "LastState": "OSRunning", "LastBootTimeSeconds": 114.0 },
        }));
        assert_eq!(
            (hpe.post_state.as_deref(), hpe.last_boot_time_seconds.as_deref()),
            (Some("InPost"), Some("114.0"))
        );
        let lenovo = parse(json!({ "Oem": { "Lenovo": { "NumberOfReboots": 16 } } }));
        assert_eq!((lenovo.number_of_reboots.as_deref(), lenovo.post_state), (Some("16"), None));
    }

    #[test]
    fn power_is_read_in_any_case() {
        for (word, state) in [("On", PowerState::On), ("OFF", PowerState::Off), ("Weird", PowerState::Other)]
        {
            assert_eq!(parse(json!({ "PowerState": word })).power, Some(state));
        }
    }
}
