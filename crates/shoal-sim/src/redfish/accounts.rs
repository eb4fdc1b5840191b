//! AccountService: what is shown of the accounts, and of the three roles of the standard.
//!
//! The accounts themselves, and what they allow, are in [`bmc`](super::super::bmc). Invariant: a
//! password is never shown.

use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Value, json};

use super::super::bmc::{Bmc, PASSWORD_LEN, ROLES};
use super::super::body::Object;
use super::super::message::{Message, Refusal};
use super::resource::Resource;
use super::{Caller, Reply, represent};

pub fn render_roles() -> Value {
    let members: Vec<Value> = ROLES
        .iter()
        .map(|(name, _)| json!({ "@odata.id": format!("/redfish/v1/AccountService/Roles/{name}") }))
        .collect();
    json!({
        "@odata.id": "/redfish/v1/AccountService/Roles",
        "@odata.type": "#RoleCollection.RoleCollection",
        "Name": "Roles",
        "Members@odata.count": members.len(),
        "Members": members,
    })
}

pub fn render_role(id: &str) -> Option<Value> {
    let (name, privileges) = ROLES.iter().find(|(name, _)| *name == id)?;
    Some(json!({
        "@odata.id": format!("/redfish/v1/AccountService/Roles/{name}"),
        "@odata.type": "#Role.v1_3_2.Role",
        "Id": name,
        "Name": format!("{name} Role"),
        "RoleId": name,
        "IsPredefined": true,
        "AssignedPrivileges": privileges,
        "OemPrivileges": [],
    }))
}

impl Bmc {
    pub fn render_account_service(&self) -> Value {
        json!({
            "@odata.id": self.path(&Resource::AccountService),
            "@odata.type": "#AccountService.v1_15_1.AccountService",
            "Id": "AccountService",
            "Name": "Account Service",
            "ServiceEnabled": true,
            "HTTPBasicAuth": "Enabled",
            "MinPasswordLength": PASSWORD_LEN.start(),
            "MaxPasswordLength": PASSWORD_LEN.end(),
            "AccountLockoutThreshold": 0,
            "AccountLockoutDuration": 0,
            "Accounts": self.link(&Resource::Accounts),
            "Roles": self.link(&Resource::Roles),
        })
    }

    /// All accounts for an administrator, else the caller's own.
    pub fn render_accounts(&self, caller: Option<&Caller>) -> Value {
        let sees = |id: &String| caller.is_none_or(|caller| caller.is_administrator || caller.account == *id);
        let members: Vec<_> =
            self.accounts.ids().filter(|id| sees(id)).cloned().map(Resource::Account).collect();
        self.collection(&Resource::Accounts, "ManagerAccountCollection", "Accounts", &members)
    }

    pub fn render_account(&self, id: &str) -> Option<Value> {
        let account = self.accounts.get(id)?;
        Some(json!({
            "@odata.id": self.path(&Resource::Account(id.to_owned())),
            "@odata.type": "#ManagerAccount.v1_12_1.ManagerAccount",
            "Id": account.id,
            "Name": "User Account",
            "UserName": account.user,
            "Password": null,
            "RoleId": account.role,
            "Enabled": account.enabled,
            "Locked": false,
            "PasswordChangeRequired": account.must_change,
            "AccountTypes": ["Redfish"],
            "Links": { "Role": { "@odata.id": format!("/redfish/v1/AccountService/Roles/{}", account.role) } },
        }))
    }

    pub fn create_account(&mut self, body: &Object) -> Result<Reply, Refusal> {
        let id = self.accounts.create(body)?;
        let made = self.render_account(&id).ok_or_else(Message::internal)?;
        let resource = Resource::Account(id);
        Ok(represent(StatusCode::CREATED, &resource, made).with(LOCATION, self.path(&resource)))
    }
}
