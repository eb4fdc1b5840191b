//! The shapes of recipes, for the API's description and the schema of recipes.
//!
//! Nothing here is ever made: `domain::parse_recipe` reads recipes. Invariant: whatever a parser takes, its shape describes.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

/// Documents the recipe; `domain::parse_recipe` reads it.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub enum JobRecipeBody {
    Esxi(Box<RecipeBody>),
    Maintenance(Box<MaintenanceRecipeBody>),
}

/// Linux or Windows by a maintenance system (docs/linux-windows.md).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct MaintenanceRecipeBody {
    #[schema(pattern = "^install-(linux|windows)[.]target$")]
    task_target: String,
    server_serial: String,
    /// `/dev/disk/by-path/…`, `/dev/disk/by-id/…`, or an object of hints such as `serial`, `wwn`, `model`, `by_path`,
    /// `min_size`. Exactly one disk must match.
    target_disk: Value,
    /// With `url` and `sha256`, or `name` or `sha256` of an image that the controller hosts, unless the recipe has
    /// `oci_url`.
    image: Option<ImageRecipeBody>,
    /// `host[:port]/repository`, with `:tag` or `@sha256:digest`, without a scheme: an artifact with one layer, under the
    /// prefixes of `IMAGES_ALLOW`. A tag is resolved when the job is submitted.
    #[schema(
        max_length = 512,
        pattern = "^[A-Za-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+(:[A-Za-z0-9_.-]+)?(@sha256:[0-9A-Fa-f]{64})?$"
    )]
    oci_url: Option<String>,
    /// The image is a root file system as a tar archive, unpacked onto these partitions of a UEFI host; Linux only. One
    /// of them has the size `100%`.
    #[schema(min_items = 1, max_items = 64)]
    partition_layout: Option<Vec<PartitionRecipeBody>>,
    /// For cloud-init; Linux only.
    #[schema(schema_with = first_boot_text)]
    user_data: Option<String>,
    /// For cloud-init; Linux only.
    #[schema(schema_with = first_boot_text)]
    network_config: Option<String>,
    /// Answer file with the root element `unattend`; Windows only.
    #[schema(schema_with = first_boot_text)]
    unattend_xml: Option<String>,
    network: Option<NetworkRecipeBody>,
    /// Write to a disk that holds another system's data.
    overwrite: Option<bool>,
    /// `ends` (default) reads the first and last GiB back, `full` everything.
    #[schema(pattern = "^(ends|full)$")]
    verify: Option<String>,
    /// `webhook` (default), `media` or `poweroff`: how the result is reported at least.
    #[schema(pattern = "^(webhook|media|poweroff)$")]
    completion: Option<String>,
    #[schema(pattern = "^(auto|dual-cd|single-cd|cd-usb)$")]
    media_layout: Option<String>,
    allow_powered_on: Option<bool>,
    #[schema(max_length = 2000)]
    notes: Option<String>,
    #[schema(pattern = "^1([.][0-9]+)?$")]
    schema_version: Option<String>,
    #[schema(pattern = "^1([.][0-9]+)?$")]
    recipe_version: Option<String>,
    /// Free-form, at most 16 KiB.
    metadata: Option<Value>,
}

/// A string, or an object with it as `content`.
fn first_boot_text() -> Schema {
    let text = || {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(shoal_recipe::TEXT_BYTES_MAX))
    };
    let object = ObjectBuilder::new().property("content", text()).required("content");
    OneOfBuilder::new().item(text()).item(object).into()
}

/// A raw whole-disk image or, with `partition_layout`, a tar archive; plain or compressed by gzip, xz or zstd.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct ImageRecipeBody {
    /// http(s), under the prefixes of `IMAGES_ALLOW`; `sha256` is required then.
    url: Option<String>,
    /// In place of `url`: what `/api/v1/images` calls an image that the controller hosts.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    name: Option<String>,
    /// Of the file as it is transferred. Without `url` and `name` it names an image that the controller hosts.
    #[schema(pattern = "^(sha256:)?[0-9A-Fa-f]{64}$")]
    sha256: Option<String>,
    /// `network` (default): the host downloads it. `media`: CD2 carries it, and the controller hosts it. `auto`: `media`
    /// for a hosted image up to a limit, where the recipe has no `network`.
    #[schema(pattern = "^(network|media|auto)$")]
    source: Option<String>,
}

/// A partition, in the order on the disk.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct PartitionRecipeBody {
    /// Bytes with an optional unit (`512M`, `2GiB`), a percentage of the disk, or `100%` for the rest.
    size: String,
    /// `ef00` (EFI system partition), `8300` (Linux), `8200` (swap), `0700`, `0c01` or a GUID.
    #[schema(pattern = "^([0-9A-Fa-f]{4}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$")]
    type_guid: Option<String>,
    /// `none` and `raw` leave the partition as it is.
    #[schema(pattern = "^(vfat|ext4|xfs|swap|none|raw)$")]
    format: String,
    /// At most 11 characters for vfat, 12 for xfs, 15 for swap, 16 for ext4.
    #[schema(min_length = 1, max_length = 16)]
    label: Option<String>,
    #[schema(min_length = 1, max_length = 255)]
    mountpoint: Option<String>,
}

/// Fixed addresses of the maintenance system; without it, DHCP.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct NetworkRecipeBody {
    mac: String,
    /// With prefix lengths.
    addresses: Vec<String>,
    gateway: Option<String>,
    dns: Option<Vec<String>>,
    #[schema(minimum = 1, maximum = 4094)]
    vlan: Option<u16>,
}

/// ESXi by its own installer.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct RecipeBody {
    #[schema(pattern = "^install-esxi[.]target$")]
    task_target: String,
    server_serial: String,
    /// The exact text of the kickstart, at most 65,536 bytes of UTF-8. Also taken as `ks.cfg`.
    #[schema(min_length = 1, max_length = 65536)]
    ks_cfg: String,
    /// `none` (default); `poweroff` or `webhook` add a last `%post` that reports completion;
    /// `own-poweroff` where the kickstart itself powers the host off at its end.
    #[schema(pattern = "^(none|poweroff|webhook|own-poweroff)$")]
    completion_hook: Option<String>,
    /// Host name or address of the installed ESXi, with a port if that is not 443.
    management_address: Option<String>,
    /// `auto` (default), `dual-cd`, `single-cd` or `cd-usb`.
    #[schema(pattern = "^(auto|dual-cd|single-cd|cd-usb)$")]
    media_layout: Option<String>,
    /// http(s), under the prefixes of `ESXI_INSTALLER_ALLOW`.
    esxi_installer_url: Option<String>,
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    esxi_installer_sha256: Option<String>,
    allow_powered_on: Option<bool>,
    /// The kickstart is a template; what it renders to is fixed when the job is made.
    templated: Option<bool>,
    /// Values for the template, at most 16 KiB. Shown nowhere.
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
    /// Free-form, at most 16 KiB.
    metadata: Option<Value>,
}
