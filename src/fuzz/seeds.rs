//! What a corpus begins with: inputs that lead each target to its end.
//!
//! Some are made here; images by other people's writers and the trees of real BMCs are found where the
//! chore says that they are, and never kept. Invariant: a seed is in the form that its target reads.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::blocks::{pack, pack_hollow};
use shoal_image::iso::{BootPlatform, IsoWriter, build_task_iso};

/// Where there is more to begin with.
pub struct SeedSources {
    /// A folder of ISO images.
    pub images: PathBuf,
    /// A folder of captures: a folder for each BMC, with an `index.json` for each resource.
    pub captures: PathBuf,
}

/// Writes the seeds of every target into a folder of its name below `folder`.
pub fn write_seeds(folder: &Path, found: Option<&SeedSources>) -> io::Result<()> {
    let seeds = Seeds(folder);
    for (target, name, text) in TEXTS {
        seeds.write(target, name, text.as_bytes())?;
    }
    for (name, image) in [("vendor", vendor(false)), ("vendor-joliet", vendor(true)), ("task", task())] {
        seeds.write("iso", name, &pack(&image))?;
        seeds.write("installer", name, &pack(&image))?;
    }
    let Some(found) = found else { return Ok(()) };
    for path in sorted(&found.images)? {
        let (name, packed) = (name_of(&path), pack_hollow(std::fs::read(&path)?));
        seeds.write("iso", &name, &packed)?;
        seeds.write("installer", &name, &packed)?;
    }
    // Captures may be elsewhere, or nowhere.
    for capture in sorted(&found.captures).unwrap_or_default() {
        seeds.write_capture(&capture)?;
    }
    Ok(())
}

struct Seeds<'a>(&'a Path);

impl Seeds<'_> {
    fn write(&self, target: &str, name: &str, data: &[u8]) -> io::Result<()> {
        let folder = self.0.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), data)
    }

    /// Each of its resources is a body, and all together are a service.
    fn write_capture(&self, capture: &Path) -> io::Result<()> {
        let (name, mut service) = (name_of(capture), String::new());
        for (number, file) in resources(capture)?.iter().enumerate() {
            let body = std::fs::read_to_string(file)?;
            let path = file.strip_prefix(capture).ok().and_then(Path::parent).unwrap_or(Path::new(""));
            // Writing into a text does not fail.
            let _ = writeln!(service, "=/{}\n{}", path.display(), body.trim());
            self.write("redfish_bodies", &format!("{name}-{number}"), body.as_bytes())?;
        }
        self.write("redfish_service", &name, service.as_bytes())
    }
}

/// Every `index.json` below a folder, in order.
fn resources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in sorted(folder)? {
        if path.is_dir() {
            found.extend(resources(&path)?);
        } else if path.ends_with("index.json") {
            found.push(path);
        }
    }
    Ok(found)
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<PathBuf>> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    paths.map(|mut paths| {
        paths.sort();
        paths
    })
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn vendor(joliet: bool) -> Vec<u8> {
    let mut writer = IsoWriter::new("ESXI-8.0U3-24022510");
    writer.application_id = "ESXIMAGE".to_owned();
    writer.joliet = joliet;
    writer.file("/BOOT.CFG", BOOT_CFG).file("/EFI/BOOT/BOOT.CFG", BOOT_CFG);
    writer.file("/B.B00", "kernel").file("/K.B00", "module").file("/BOOT.IMG", "image");
    writer.boot(BootPlatform::Bios, "/BOOT.IMG", 4).boot(BootPlatform::Uefi, "/BOOT.IMG", 0);
    writer.write().expect("the names are valid and the files small").image.to_vec()
}

/// Without the zeros before its kickstart.
fn task() -> Vec<u8> {
    let task = build_task_iso(b"vmaccepteula\n", b"{}", None);
    let mut image = task.image.to_vec();
    image.truncate(task.metadata_end as usize);
    image
}

const BOOT_CFG: &str = "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/b.b00\n\
    kernelopt=runweasel cdromBoot\nmodules=/k.b00 --- /useropts.gz x=1\nbuild=8.0.3-0.0.24022510\nupdated=0\n";

/// Target, name, text.
const TEXTS: [(&str, &str, &str); 19] = [
    ("boot_cfg", "vendor", BOOT_CFG),
    (
        "boot_cfg",
        "odd",
        "KERNELOPT = a\nkernelopt=\"a b\" ks=usb 'c\\' ks=x\\ y\nkern=/b\nmod=x\ntitle=T\r\n# x\n\0",
    ),
    ("boot_cfg", "plain", "kernel=/b\nkernelopt=\nmodules=/a---/b"),
    ("kickstart_lint", "plain", "vmaccepteula\ninstall --firstdisk\nrootpw x\nreboot\n"),
    (
        "kickstart_lint",
        "sections",
        "%include /tmp/a\n%pre\necho a > /tmp/a\n%post\ncat <<E\n%end\nE\nexit 1\n%end\n",
    ),
    (
        "kickstart_lint",
        "template",
        "{% if a %}\nnetwork --ip={{ '10.0.0.1/24' | ip_add(1) }}\n{% endif %}\n{{ server.serial }}\n",
    ),
    ("kickstart", "plain", "vmaccepteula\ninstall --firstdisk\nrootpw x\nreboot\n"),
    (
        "kickstart",
        "posts",
        "accepteula\r\ninstall --firstdisk\r\n%post\ntrue\n%firstboot --interpreter=python\nx",
    ),
    (
        "recipe",
        "plain",
        r#"{"task_target":"install-esxi.target","server_serial":"ABCDEF123456","ks_cfg":"vmaccepteula\ninstall --firstdisk\nreboot\n"}"#,
    ),
    (
        "recipe",
        "all",
        r#"{"task_target":"install-esxi.target","server_serial":"ABCDEF123456","ks.cfg":"reboot","completion_hook":"poweroff","management_address":"10.0.0.1:443","media_layout":"single-cd","esxi_installer_url":"https://a.test/x.iso","esxi_installer_sha256":"00","allow_powered_on":true,"templated":false,"variables":{},"metadata":{"a":[1]}}"#,
    ),
    ("range", "one", "\x20\x10\x03\x05\x02\x01\x07\x07\0bytes=1-20"),
    ("range", "suffix", "\x7f\x7f\x01\x01\x02\x02\x03\x03\0bytes=-5\n\x01\"aa\"\n\x02*\n\x03W/\"aa\""),
    ("task_media", "two", "vmaccepteula\n\n----\n{\"metadata\":{}}"),
    ("task_media", "three", "vmaccepteula\n\n----\n{}\n----\n0123456789abcdef"),
    (
        "redfish_bodies",
        "refusal",
        "Allow: GET, PATCH\n{\"error\":{\"code\":\"Base.1.8.GeneralError\",\"@Message.ExtendedInfo\":[{\"MessageId\":\"Base.1.8.ResourceInUse\",\"Message\":\"s3cret-of-the-BMC\",\"Severity\":\"Warning\"}]}}",
    ),
    (
        "redfish_bodies",
        "nearly",
        "\u{feff}{\"Members\":[{\"@odata.id\":\"/redfish/v1/Systems/1\"},],\"Inserted\":\"true\",}\0\0<!-- x -->",
    ),
    ("redfish_service", "plain", SERVICE),
    ("redfish_service", "tasks", TASKS),
    ("redfish_service", "hostile", HOSTILE),
];

const SERVICE: &str = r##"=/redfish/v1 200 etag:"1"
{"Vendor":"Contoso","RedfishVersion":"1.15.0","Systems":{"@odata.id":"/redfish/v1/Systems"},"Managers":{"@odata.id":"/redfish/v1/Managers"},"Links":{"Sessions":{"@odata.id":"/redfish/v1/SessionService/Sessions"}}}
=/redfish/v1/Systems
{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}
=/redfish/v1/Systems/1 200 etag:W/"7"
{"Id":"1","SerialNumber":"A1","PowerState":"On","BootProgress":{"LastState":"OSRunning"},"Boot":{"BootSourceOverrideEnabled":"Disabled","BootSourceOverrideTarget":"None","BootSourceOverrideTarget@Redfish.AllowableValues":["Cd","UsbCd"]},"Actions":{"#ComputerSystem.Reset":{"target":"/redfish/v1/Systems/1/Actions/ComputerSystem.Reset","@Redfish.ActionInfo":"/redfish/v1/Systems/1/ResetActionInfo"}},"Links":{"ManagedBy":[{"@odata.id":"/redfish/v1/Managers/1"}]},"@Redfish.Settings":{"SettingsObject":{"@odata.id":"/redfish/v1/Systems/1/Settings"}}}
=/redfish/v1/Systems/1/ResetActionInfo
{"Parameters":[{"Name":"ResetType","Required":true,"AllowableValues":["On","ForceOff","GracefulShutdown"]}]}
=/redfish/v1/Systems/1/Settings
{"Boot":{"BootSourceOverrideTarget@Redfish.AllowableValues":["Cd"]}}
=/redfish/v1/Managers/1
{"Id":"1","Model":"BMC","FirmwareVersion":"1.0","VirtualMedia":{"@odata.id":"/redfish/v1/Managers/1/VirtualMedia"}}
=/redfish/v1/Managers/1/VirtualMedia
{"Members":[{"@odata.id":"/redfish/v1/Managers/1/VirtualMedia/CD1"}],"Members@odata.nextLink":"/redfish/v1/Managers/1/VirtualMedia?$skip=1"}
=/redfish/v1/Managers/1/VirtualMedia/CD1 200 allow:GET,PATCH
{"Id":"CD1","MediaTypes":["CD","DVD"],"Inserted":false,"Image":null,"Actions":{"#VirtualMedia.InsertMedia":{"target":"/redfish/v1/Managers/1/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia"},"#VirtualMedia.EjectMedia":{"target":"/redfish/v1/Managers/1/VirtualMedia/CD1/Actions/VirtualMedia.EjectMedia"}}}
"##;

const TASKS: &str = r##"=/redfish/v1
{"Systems":{"@odata.id":"/redfish/v1/Systems"},"SessionService":{"@odata.id":"/redfish/v1/SessionService"}}
=/redfish/v1/Systems
{"Members":{"@odata.id":"/redfish/v1/Systems/1"}}
=/redfish/v1/Systems/1
{"PowerState":"Off","VirtualMedia":{"@odata.id":"/v"},"Oem":{"Supermicro":{}}}
=/v
{"Members":["/v/1"]}
=/v/1
{"MediaTypes":"CD","Actions":{"#VirtualMedia.InsertMedia":{"target":"/v/1/insert","TransferProtocolType@Redfish.AllowableValues":["HTTP"]},"#VirtualMedia.EjectMedia":{"target":"/v/1/eject"}}}
=!/v/1/insert 202 location:/t/1 retry-after:3
{"@odata.id":"/t/2","TaskState":"New"}
=/t/1 202 retry-after:99
{"TaskState":"Running"}
=/t/1 200
{"TaskState":"Exception","Messages":[{"MessageId":"X","Message":"no $U and $P","Severity":"Critical"}]}
=!/v/1/eject 412
{"error":{"@Message.ExtendedInfo":[{"MessageId":"Base.1.8.PropertyMissing","MessageArgs":["TransferProtocolType"]}]}}
"##;

const HOSTILE: &str = r##"=/redfish/v1 301 location:/redfish/v1/
=/redfish/v1 200
{"Systems":{"@odata.id":"//evil.test/redfish/v1/Systems"},"Links":{"Sessions":{"@odata.id":"/s"}}}
=!/s 201 x-auth-token:t location:https://evil.test/s/1
{}
=/redfish/v1/Systems 200
{"Members":[{"@odata.id":"https://bmc.test:8443/redfish/v1/Systems/1"}],"Members@odata.nextLink":"/redfish/v1/Systems"}
"##;
