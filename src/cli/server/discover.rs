//! `shoal server discover`: which addresses of a range answer as Redfish services.
//!
//! It runs on the operator's machine and knows no controller. Invariant: an address is sent one request for the service
//! root, without credentials, whatever its certificate is.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use ipnet::IpNet;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use url::Url;

use super::super::output::{self, Format, Output, table, to_stderr};
use super::super::{CliError, Exit};
use super::export::{file_text, import_row};
use super::import::FileFormat;
use crate::domain::Serial;
use shoal_base::visible;
use shoal_base::world::{HttpRequest, TlsPolicy, Transport, World};

/// A /20 of IPv4.
const ADDRESSES_MAX: usize = 4096;
const PARALLEL: usize = 16;
const ROOT_BYTES_MAX: usize = 1 << 20;
const TEXT_CHARS_MAX: usize = 200;

#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// Addresses to ask, such as 10.0.0.0/24; at most a /20 together. May be given several times.
    #[arg(long = "range", value_name = "CIDR", required = true, value_parser = range)]
    ranges: Vec<IpNet>,
    /// Port of the Redfish services. [default: 443, or 80 with --http]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Plain HTTP.
    #[arg(long)]
    http: bool,
    /// Seconds until an address counts as one without a service.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout_seconds: u64,
    /// Print a file for `shoal server import` instead of a table.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
}

/// A range, or one address.
fn range(text: &str) -> Result<IpNet, String> {
    let range = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    range.map_err(|_| "write a range such as 10.0.0.0/24".to_owned())
}

pub async fn run(args: DiscoverArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let urls = urls(&args)?;
    let timeout = Duration::from_secs(args.timeout_seconds);
    let asked = urls.len();
    let mut asking = stream::iter(urls).map(|url| ask(&world.transport, url, timeout)).buffered(PARALLEL);
    let mut found = Vec::new();
    while let Some(answer) = asking.next().await {
        found.extend(answer);
    }
    to_stderr(&format!("{} of {asked} addresses answered as Redfish services", found.len()));
    match (args.format, output.format) {
        (Some(format), _) => output::text(&file_text(format, &found)?),
        (None, Format::Json) => output::text(&file_text(FileFormat::Json, &found)?),
        (None, _) => output::text(&(found_text(&found) + "\n")),
    }
    Ok(Exit::Done)
}

/// The service roots of all addresses, each once.
fn urls(args: &DiscoverArgs) -> Result<Vec<Url>, CliError> {
    let mut addresses = BTreeSet::new();
    for address in args.ranges.iter().flat_map(|range| range.hosts().take(ADDRESSES_MAX + 1)) {
        addresses.insert(address);
        if addresses.len() > ADDRESSES_MAX {
            let what = format!("--range: more than {ADDRESSES_MAX} addresses (a /20): name smaller ranges");
            return Err(CliError::usage(what));
        }
    }
    let scheme = if args.http { "http" } else { "https" };
    let urls = addresses.into_iter().map(|address| {
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let port = args.port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Url::parse(&format!("{scheme}://{host}{port}/redfish/v1/"))?)
    });
    urls.collect()
}

/// The row of an address, if a Redfish service answers there.
async fn ask(transport: &Transport, url: Url, timeout: Duration) -> Option<Map<String, Value>> {
    let request = http::Request::get(url.as_str()).extension(TlsPolicy::Insecure).body(Bytes::new());
    let request: HttpRequest = request.expect("the parts of the request are sound");
    let answering = async {
        let response = transport.clone().oneshot(request).await.ok()?;
        let is_odata = response.headers().contains_key("odata-version");
        let status = response.status();
        let body = read(response.into_body()).await;
        match status {
            StatusCode::OK if body.get("RedfishVersion").is_some() => Some(body),
            // A few BMCs hide the root without a login.
            StatusCode::UNAUTHORIZED if is_odata => Some(Value::Null),
            _ => None,
        }
    };
    let root = tokio::time::timeout(timeout, answering).await.ok()??;
    Some(row(&url, &root))
}

async fn read(body: Body) -> Value {
    let read = Limited::new(body, ROOT_BYTES_MAX).collect().await;
    read.ok().and_then(|read| serde_json::from_slice(&read.to_bytes()).ok()).unwrap_or_default()
}

/// As an import has it. The serial number is known of Dell alone, whose root shows the service tag.
fn row(url: &Url, root: &Value) -> Map<String, Value> {
    let text = |pointer: &str| {
        let text = visible(root.pointer(pointer)?.as_str()?.trim()).into_owned();
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        (!text.is_empty()).then_some(text)
    };
    let maker = root.pointer("/Oem").and_then(Value::as_object).and_then(|oem| oem.keys().next());
    let vendor =
        text("/Vendor").or_else(|| maker.map(|maker| visible(maker).chars().take(TEXT_CHARS_MAX).collect()));
    let serial = text("/Oem/Dell/ServiceTag").filter(|serial| serial.parse::<Serial>().is_ok());
    let labels = [("vendor", vendor), ("product", text("/Product")), ("service_uuid", text("/UUID"))];
    let labels: Map<String, Value> =
        labels.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))).collect();
    let address = url.as_str().trim_end_matches("/redfish/v1/");
    import_row(&json!({ "serial": serial, "bmc_address": address, "labels": labels }))
}

fn found_text(found: &[Map<String, Value>]) -> String {
    let rows = found.iter().map(|row| {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("-").to_owned();
        let label = |name: &str| text(row.get("labels").and_then(|labels| labels.get(name)));
        [
            text(row.get("bmc_address")),
            label("vendor"),
            label("product"),
            label("service_uuid"),
            text(row.get("serial")),
        ]
    });
    table(["BMC", "VENDOR", "PRODUCT", "SERVICE UUID", "SERIAL"], rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct DiscoverLine {
        #[command(flatten)]
        args: DiscoverArgs,
    }

    fn parsed(line: &str) -> Result<Vec<String>, String> {
        let line = DiscoverLine::try_parse_from(["discover"].into_iter().chain(line.split(' ')));
        let urls = urls(&line.map_err(|error| error.to_string())?.args);
        let urls = urls.map_err(|error| error.error.to_string())?;
        Ok(urls.into_iter().map(String::from).collect())
    }

    #[test]
    fn a_range_is_its_hosts_each_once_and_at_most_a_20() {
        assert_eq!(
            parsed("--range 10.0.0.0/30 --range 10.0.0.2").unwrap(),
            ["https://10.0.0.1/redfish/v1/", "https://10.0.0.2/redfish/v1/"]
        );
        assert_eq!(parsed("--range fd00::5 --port 8443").unwrap(), ["https://[fd00::5]:8443/redfish/v1/"]);
        assert_eq!(parsed("--range 10.0.0.7 --http").unwrap(), ["http://10.0.0.7/redfish/v1/"]);
        assert_eq!(parsed("--range 10.0.16.0/20").unwrap().len(), 4094);
        for large in ["--range 10.0.0.0/19", "--range 10.0.0.0/20 --range 10.1.0.0/28", "--range fd00::/64"] {
            assert!(parsed(large).unwrap_err().contains("smaller ranges"), "{large}");
        }
        assert!(parsed("--range bmc1").unwrap_err().contains("10.0.0.0/24"));
    }

    #[test]
    fn a_root_becomes_a_row_for_an_import() {
        let url = Url::parse("https://10.0.0.5/redfish/v1/").unwrap();
        let dell = json!({"Vendor": "Dell", "Product": "Integrated Dell Remote Access Controller",
            "Oem": {"Dell": {"ServiceTag": "F27X9J2"}}});
        let expected = json!({"serial": "F27X9J2", "bmc_address": "https://10.0.0.5",
            "labels": {"vendor": "Dell", "product": "Integrated Dell Remote Access Controller"}});
        assert_eq!(Value::Object(row(&url, &dell)), expected);
        let other = json!({"UUID": "38D1FF67", "Product": null, "Oem": {"Supermicro": {}}});
        let expected = json!({"bmc_address": "https://10.0.0.5",
            "labels": {"vendor": "Supermicro", "service_uuid": "38D1FF67"}});
        assert_eq!(Value::Object(row(&url, &other)), expected);
        assert_eq!(Value::Object(row(&url, &Value::Null)), json!({"bmc_address": "https://10.0.0.5"}));
    }
}
