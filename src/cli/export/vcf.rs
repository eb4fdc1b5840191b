//! The list of hosts that VMware Cloud Foundation commissions. Pure.
//!
//! The hosts are as `HostCommissionSpec` of the VCF API describes them. Invariant: no password is in it.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::CliError;
use super::SourceArgs;
use super::hosts::{InstalledHost, LeftOut};

/// What stands for each password.
const PASSWORD: &str = "REPLACE_WITH_PASSWORD";

#[derive(Debug, Args)]
pub struct VcfArgs {
    /// Principal storage of the hosts.
    #[arg(long, value_enum, ignore_case = true)]
    storage_type: StorageType,
    /// Network pool of the hosts: its id, as `GET /v1/network-pools` of SDDC Manager shows it.
    #[arg(long, value_name = "ID", value_parser = word)]
    network_pool_id: String,
    /// Name of the network pool.
    #[arg(long, value_name = "NAME")]
    network_pool_name: Option<String>,
    /// Protocol of vVol storage; with --storage-type VVOL.
    #[arg(long, value_enum, ignore_case = true, value_name = "PROTOCOL")]
    vvol_protocol: Option<VvolProtocol>,
    /// Account on the hosts.
    #[arg(long, value_name = "NAME", default_value = "root", value_parser = word)]
    username: String,
    /// Have VCF skip its check of the hardware compatibility list.
    #[arg(long)]
    skip_hcl_precheck: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum StorageType {
    Vsan,
    VsanEsa,
    VsanRemote,
    VsanMax,
    Nfs,
    Nfs41,
    VmfsFc,
    Fc,
    Vvol,
    Vmfs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum VvolProtocol {
    Iscsi,
    Nfs,
    Fc,
}

fn word(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(char::is_whitespace) {
        true => Err("must be one word".to_owned()),
        false => Ok(text.to_owned()),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommissionedHost {
    fqdn: String,
    username: String,
    password: &'static str,
    storage_type: StorageType,
    network_pool_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_pool_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vvol_storage_protocol_type: Option<VvolProtocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_thumbprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_hcl_compatibility_precheck: Option<bool>,
}

impl VcfArgs {
    pub fn check(&self) -> Result<(), CliError> {
        match (self.storage_type, self.vvol_protocol) {
            (StorageType::Vvol, None) => Err(CliError::usage("--storage-type VVOL requires --vvol-protocol")),
            (StorageType::Vvol, Some(_)) | (_, None) => Ok(()),
            (_, Some(_)) => Err(CliError::usage("--vvol-protocol is for --storage-type VVOL only")),
        }
    }

    /// The hosts that have a name of their own.
    pub fn commissioned(
        &self,
        hosts: &[InstalledHost],
        left_out: &mut Vec<LeftOut>,
    ) -> Vec<CommissionedHost> {
        let mut named: BTreeMap<String, Vec<&InstalledHost>> = BTreeMap::new();
        for host in hosts {
            match self.source.names.fqdn(host) {
                Ok(fqdn) => named.entry(fqdn).or_default().push(host),
                Err(why) => left_out.push(host.left_out(why)),
            }
        }
        let mut commissioned = Vec::new();
        for (fqdn, hosts) in named {
            match hosts.as_slice() {
                [host] => commissioned.push(self.one(fqdn, host)),
                several => left_out.extend(several.iter().map(|host| {
                    let others =
                        several.iter().map(|other| other.serial()).filter(|other| *other != host.serial());
                    let others = others.collect::<Vec<_>>().join(", ");
                    host.left_out(format!("its name {fqdn} is also that of {others}"))
                })),
            }
        }
        commissioned
    }

    fn one(&self, fqdn: String, host: &InstalledHost) -> CommissionedHost {
        CommissionedHost {
            fqdn,
            username: self.username.clone(),
            password: PASSWORD,
            storage_type: self.storage_type,
            network_pool_id: self.network_pool_id.clone(),
            network_pool_name: self.network_pool_name.clone(),
            vvol_storage_protocol_type: self.vvol_protocol,
            ssl_thumbprint: host.thumbprint(),
            skip_hcl_compatibility_precheck: self.skip_hcl_precheck.then_some(true),
        }
    }
}

/// What is to be done with the list before it is used.
pub fn notes(hosts: &[CommissionedHost]) -> Vec<String> {
    let unproven: Vec<&str> =
        hosts.iter().filter(|host| host.ssl_thumbprint.is_none()).map(|host| host.fqdn.as_str()).collect();
    let mut notes =
        vec![format!("note: each password is {PASSWORD}: fill them in before you commission the hosts")];
    if !unproven.is_empty() {
        notes.push(format!(
            "note: no sslThumbprint, because no answer at the management address proved the installation: {}",
            unproven.join(", ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Parser)]
    struct VcfLine {
        #[command(flatten)]
        args: VcfArgs,
    }

    const JOB: &str = "--job=0123456789abcdef0123456789abcdef";

    fn args(more: &[&str]) -> Result<VcfArgs, clap::Error> {
        let line = ["export", JOB, "--network-pool-id=58d74167"].into_iter().chain(more.iter().copied());
        VcfLine::try_parse_from(line).map(|line| line.args)
    }

    fn host(serial: &str, address: &str, certificate: Value) -> InstalledHost {
        let installed = json!({"management_address": address, "certificate_sha256": certificate});
        InstalledHost {
            job: json!({"job_id": format!("j{serial}"), "server_serial": serial, "installed": installed}),
            server: json!({"serial": serial, "labels": {}}),
        }
    }

    #[test]
    fn a_host_is_as_vcf_expects_it() {
        let args =
            args(&["--storage-type=vsan_esa", "--network-pool-name=np01", "--skip-hcl-precheck"]).unwrap();
        let hosts = [host("A", "esx1.lab.example", json!("ab".repeat(32)))];
        let mut left_out = vec![];
        let listed = args.commissioned(&hosts, &mut left_out);
        let expected = json!([{
            "fqdn": "esx1.lab.example", "username": "root", "password": "REPLACE_WITH_PASSWORD",
            "storageType": "VSAN_ESA", "networkPoolId": "58d74167", "networkPoolName": "np01",
            "sslThumbprint": vec!["AB"; 32].join(":"), "skipHclCompatibilityPrecheck": true,
        }]);
        assert_eq!((json!(listed), left_out.as_slice()), (expected, [].as_slice()));
        assert_eq!(notes(&listed).len(), 1);
    }

    #[test]
    fn what_is_optional_is_left_out_and_said() {
        let args = args(&["--storage-type=VVOL", "--vvol-protocol=iscsi", "--username=admin"]).unwrap();
        args.check().unwrap();
        let listed = args.commissioned(&[host("A", "esx1.lab.example", Value::Null)], &mut vec![]);
        let expected = json!([{
            "fqdn": "esx1.lab.example", "username": "admin", "password": "REPLACE_WITH_PASSWORD",
            "storageType": "VVOL", "vvolStorageProtocolType": "ISCSI", "networkPoolId": "58d74167",
        }]);
        assert_eq!(json!(listed), expected);
        assert!(notes(&listed)[1].ends_with("proved the installation: esx1.lab.example"));
    }

    #[test]
    fn hosts_without_a_name_of_their_own_are_left_out() {
        let args = args(&["--storage-type=VSAN"]).unwrap();
        let hosts = ["esx1.a.b", "10.0.0.1", "esx2.a.b", "ESX1.a.b"];
        let hosts: Vec<_> = ["A", "B", "C", "D"]
            .iter()
            .zip(hosts)
            .map(|(serial, at)| host(serial, at, Value::Null))
            .collect();
        let mut left_out = vec![];
        let listed = args.commissioned(&hosts, &mut left_out);
        assert_eq!(listed.iter().map(|host| host.fqdn.as_str()).collect::<Vec<_>>(), ["esx2.a.b"]);
        let left_out: Vec<String> = left_out.iter().map(ToString::to_string).collect();
        assert!(left_out[0].starts_with("B (job jB): no host name is known"), "{left_out:?}");
        assert_eq!(left_out[1], "A (job jA): its name esx1.a.b is also that of D");
        assert_eq!(left_out[2], "D (job jD): its name esx1.a.b is also that of A");
    }

    #[test]
    fn storage_is_one_of_those_that_vcf_knows() {
        let names: Vec<Value> = StorageType::value_variants().iter().map(|name| json!(name)).collect();
        let known =
            ["VSAN", "VSAN_ESA", "VSAN_REMOTE", "VSAN_MAX", "NFS", "NFS41", "VMFS_FC", "FC", "VVOL", "VMFS"];
        assert_eq!(names, known);
        for name in known {
            assert!(args(&[&format!("--storage-type={name}")]).is_ok(), "{name}");
        }
        assert!(args(&["--storage-type=LOCAL"]).is_err() && args(&[]).is_err());
        assert!(args(&["--storage-type=VVOL"]).unwrap().check().is_err(), "without a protocol");
        assert!(args(&["--storage-type=NFS", "--vvol-protocol=NFS"]).unwrap().check().is_err());
        assert!(args(&["--storage-type=NFS", "--username="]).is_err());
    }
}
