//! What can be read without credentials: versions, ServiceRoot, OData service document, metadata.
//!
//! Invariant: every link leads to a resource that is served.

use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::faults::Fault;
use super::resource::{PartResource, Resource};

/// The OData metadata document: references to DMTF's schemas, which are not copied here.
pub const METADATA: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0">"#,
    r#"<edmx:Reference Uri="http://redfish.dmtf.org/schemas/v1/ServiceRoot_v1.xml">"#,
    r#"<edmx:Include Namespace="ServiceRoot"/><edmx:Include Namespace="ServiceRoot.v1_17_0"/></edmx:Reference>"#,
    r#"<edmx:Reference Uri="http://redfish.dmtf.org/schemas/v1/ComputerSystem_v1.xml">"#,
    r#"<edmx:Include Namespace="ComputerSystem"/><edmx:Include Namespace="ComputerSystem.v1_22_0"/></edmx:Reference>"#,
    r#"<edmx:Reference Uri="http://redfish.dmtf.org/schemas/v1/VirtualMedia_v1.xml">"#,
    r#"<edmx:Include Namespace="VirtualMedia"/><edmx:Include Namespace="VirtualMedia.v1_6_3"/></edmx:Reference>"#,
    r#"<edmx:DataServices><Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="Service">"#,
    r#"<EntityContainer Name="Service" Extends="ServiceRoot.v1_17_0.ServiceContainer"/>"#,
    r#"</Schema></edmx:DataServices></edmx:Edmx>"#,
);

/// `/redfish`.
pub fn render_versions() -> Value {
    json!({ "v1": "/redfish/v1/" })
}

impl Bmc {
    pub fn render_root(&self) -> Value {
        let persona = &self.config.persona;
        let mut root = json!({
            "@odata.id": self.path(&Resource::Root),
            "@odata.type": "#ServiceRoot.v1_17_0.ServiceRoot",
            "Id": "RootService",
            "Name": "Root Service",
            "RedfishVersion": "1.18.0",
            "UUID": self.uuid("service"),
            "Product": persona.product,
            "ProtocolFeaturesSupported": {
                "ExcerptQuery": false,
                "ExpandQuery": { "ExpandAll": false, "Levels": false, "Links": false, "NoLinks": false },
                "FilterQuery": false,
                "OnlyMemberQuery": false,
                "SelectQuery": false,
            },
            "Systems": self.link(&Resource::Systems),
            "Chassis": self.link(&Resource::ChassisCollection),
            "Managers": self.link(&Resource::Managers),
            "Tasks": self.link(&Resource::TaskService),
            "UpdateService": self.link(&Resource::Part(PartResource::UpdateService)),
            "AccountService": self.link(&Resource::AccountService),
            "Links": {},
        });
        if let Some(vendor) = persona.root_vendor {
            root["Vendor"] = json!(vendor);
        }
        if let Some(oem) = self.root_oem() {
            root["Oem"] = oem;
        }
        if !self.faults.has(&Fault::NoSessions) {
            root["SessionService"] = self.link(&Resource::SessionService);
            root["Links"]["Sessions"] = self.link(&Resource::Sessions);
        }
        root
    }

    /// `/redfish/v1/odata`.
    pub fn render_odata(&self) -> Value {
        let service =
            |name: &str, resource| json!({ "name": name, "kind": "Singleton", "url": self.path(&resource) });
        json!({
            "@odata.context": self.path(&Resource::Metadata),
            "value": [
                service("Service", Resource::Root),
                service("Systems", Resource::Systems),
                service("Chassis", Resource::ChassisCollection),
                service("Managers", Resource::Managers),
                service("AccountService", Resource::AccountService),
                service("Tasks", Resource::TaskService),
                service("UpdateService", Resource::Part(PartResource::UpdateService)),
            ],
        })
    }
}
