//! What an installed ESXi answers on its management address, before anybody has logged in.
//!
//! Source: VMware's vSphere API, ServiceInstance.RetrieveServiceContent, as libvirt and others ask
//! for it; field reports for the rest. Nothing of it needs credentials and nothing changes the host.
//! Invariant: version and build are those of the image that was installed.

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{Method, Response, StatusCode};

use super::computer::ManagementAddress;
use super::machine::InstalledSystem;

/// A question is a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Answers one request to the host's own address. A connection serves one request, so that none
/// outlives the system that answered.
pub async fn serve(management: ManagementAddress, request: Request) -> Response<Body> {
    let mut response = match management {
        ManagementAddress::Ready { esxi, .. } => answer(&esxi, request).await,
        // While hostd starts, the proxy before it has no server to ask.
        ManagementAddress::Starting { .. } | ManagementAddress::Unreachable => {
            (StatusCode::SERVICE_UNAVAILABLE, "503 Service Unavailable").into_response()
        }
    };
    response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("close"));
    response
}

async fn answer(esxi: &InstalledSystem, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match (parts.method, parts.uri.path()) {
        (Method::POST, "/sdk" | "/sdk/") => {
            let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
            let question = String::from_utf8_lossy(&body);
            let is_known =
                question.contains("RetrieveServiceContent") && question.contains(">ServiceInstance<");
            let (status, content) = if is_known {
                (StatusCode::OK, service_content(esxi))
            } else {
                (StatusCode::INTERNAL_SERVER_ERROR, FAULT.to_owned())
            };
            (status, [(CONTENT_TYPE, "text/xml; charset=utf-8")], envelope(&content)).into_response()
        }
        (Method::GET | Method::HEAD, "/sdk/vimServiceVersions.xml") => {
            ([(CONTENT_TYPE, "text/xml")], versions(esxi)).into_response()
        }
        (Method::GET | Method::HEAD, "/ui/") => ([(CONTENT_TYPE, "text/html")], HOST_CLIENT).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

const HOST_CLIENT: &str = "<!DOCTYPE html>\n<html ng-app=\"esxUiApp\"><head><title>VMware ESXi</title>\
                           </head><body></body></html>\n";

const FAULT: &str = "<soapenv:Fault><faultcode>ClientFaultCode</faultcode>\
                     <faultstring>Unable to resolve WSDL method name</faultstring></soapenv:Fault>";

fn envelope(content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\"\n \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"\n \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"\n \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n\
         <soapenv:Body>\n{content}\n</soapenv:Body>\n</soapenv:Envelope>"
    )
}

fn service_content(esxi: &InstalledSystem) -> String {
    let InstalledSystem { version, build } = esxi;
    let about = [
        ("name", "VMware ESXi".to_owned()),
        ("fullName", format!("VMware ESXi {version} build-{build}")),
        ("vendor", "VMware, Inc.".to_owned()),
        ("version", version.clone()),
        ("build", build.clone()),
        ("localeVersion", "INTL".to_owned()),
        ("localeBuild", "000".to_owned()),
        ("osType", "vmnix-x86".to_owned()),
        ("productLineId", "embeddedEsx".to_owned()),
        ("apiType", "HostAgent".to_owned()),
        ("apiVersion", format!("{version}.0")),
        ("licenseProductName", "VMware ESX Server".to_owned()),
        ("licenseProductVersion", version.rsplit_once('.').map_or(version.as_str(), |v| v.0).to_owned()),
    ];
    let about: String = about.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let managers: String =
        MANAGERS.iter().map(|(name, kind, id)| format!("<{name} type=\"{kind}\">{id}</{name}>")).collect();
    format!(
        "<RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval>\
         <rootFolder type=\"Folder\">ha-folder-root</rootFolder>\
         <propertyCollector type=\"PropertyCollector\">ha-property-collector</propertyCollector>\
         <viewManager type=\"ViewManager\">ViewManager</viewManager>\
         <about>{about}</about>{managers}</returnval></RetrieveServiceContentResponse>"
    )
}

/// Those of a host that is under no vCenter: element, type, id.
const MANAGERS: [(&str, &str, &str); 9] = [
    ("setting", "OptionManager", "HostAgentSettings"),
    ("userDirectory", "UserDirectory", "ha-user-directory"),
    ("sessionManager", "SessionManager", "ha-sessionmgr"),
    ("authorizationManager", "AuthorizationManager", "ha-authmgr"),
    ("perfManager", "PerformanceManager", "ha-perfmgr"),
    ("eventManager", "EventManager", "ha-eventmgr"),
    ("taskManager", "TaskManager", "ha-taskmgr"),
    ("licenseManager", "LicenseManager", "ha-license-manager"),
    ("searchIndex", "SearchIndex", "ha-searchindex"),
];

fn versions(esxi: &InstalledSystem) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<namespaces version=\"1.0\">\n <namespace>\n  \
         <name>urn:vim25</name>\n  <version>{}.0</version>\n </namespace>\n</namespaces>\n",
        esxi.version
    )
}
