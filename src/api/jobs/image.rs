//! Which image a Linux or Windows recipe means, and how its host gets it: decided once, when the job is submitted.
//!
//! It fetches nothing. Invariant: the specification of a job that was accepted names a digest, and no choice is left.

use shoal_recipe::{Image, ImageLocation, ImageSource, Network};

use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::domain::{FieldError, JobSpec, PathSpec};
use crate::media::{HostedImage, ImageKey};

/// What ISO 9660 can address is twice as much; no image comes near.
const MEDIA_BYTES_MAX: u64 = 4 << 40;

/// What is wrong with a recipe, or of what is ours.
pub enum PinError {
    Faults(Vec<FieldError>),
    Failed(ApiError),
}

impl PinError {
    fn at(pointer: &str, message: impl Into<String>) -> PinError {
        PinError::Faults(vec![FieldError::new(pointer, message)])
    }
}

/// Notes digest and source of the image in the specification.
pub async fn pin(state: &ApiState, spec: &mut JobSpec) -> Result<(), PinError> {
    let PathSpec::Maintenance(spec) = &mut spec.path else { return Ok(()) };
    let image = &spec.recipe.image;
    let hosted = match &image.location {
        ImageLocation::Oci(_) if image.source != ImageSource::Media => return Ok(()),
        ImageLocation::Oci(_) => {
            let message = "an image in a registry reaches the host by network: add it with `shoal image add`, and give \
                           `name` in place of `oci_url`";
            return Err(PinError::at("/image/source", message));
        }
        ImageLocation::Url { .. } if image.source == ImageSource::Network => return Ok(()),
        ImageLocation::Url { sha256, .. } => find(state, &ImageKey::Digest(*sha256)).await?,
        ImageLocation::Hosted { .. } => Some(find_hosted(state, image).await?),
    };
    let source = match (image.source, &hosted) {
        (ImageSource::Network, _) => ImageSource::Network,
        (ImageSource::Media, None) => {
            let message =
                "the image on a task medium is one that the controller hosts: add it with `shoal image add`";
            return Err(PinError::at("/image/source", message));
        }
        (ImageSource::Media, Some(hosted)) if hosted.size > MEDIA_BYTES_MAX => {
            return Err(PinError::at("/image/source", "a task medium holds an image of at most 4 TiB"));
        }
        (ImageSource::Media, Some(_)) => ImageSource::Media,
        (ImageSource::Auto, hosted) => {
            let fits = hosted.as_ref().is_some_and(|hosted| hosted.size <= state.auto_media_bytes_max);
            let has_network = matches!(spec.recipe.network, Network::Static(_));
            if fits && !has_network { ImageSource::Media } else { ImageSource::Network }
        }
    };
    let digest = match (&image.location, hosted) {
        (ImageLocation::Url { sha256, .. }, _) => Some(*sha256),
        (_, hosted) => hosted.and_then(|hosted| shoal_recipe::Sha256::parse(&hosted.sha256)),
    };
    if let Some(digest) = digest {
        spec.pin_image(digest, source);
    }
    Ok(())
}

async fn find(state: &ApiState, key: &ImageKey) -> Result<Option<HostedImage>, PinError> {
    state.images.find(key).await.map_err(|error| PinError::Failed(error.into()))
}

/// The image of that name, digest, or both.
async fn find_hosted(state: &ApiState, image: &Image) -> Result<HostedImage, PinError> {
    let ImageLocation::Hosted { sha256, name } = &image.location else {
        return Err(PinError::at("/image", "names no image of the controller"));
    };
    let (pointer, key) = match (name, sha256) {
        (Some(name), _) => ("/image/name", ImageKey::Name(name.clone())),
        (None, Some(sha256)) => ("/image/sha256", ImageKey::Digest(*sha256)),
        (None, None) => return Err(PinError::at("/image", "names no image of the controller")),
    };
    let unknown = || PinError::at(pointer, "the controller hosts no such image: see `shoal image list`");
    let found = find(state, &key).await?.ok_or_else(unknown)?;
    match sha256 {
        Some(expected) if expected.to_string() != found.sha256 => {
            let message = format!("the controller's image of that name has the SHA-256 {}", found.sha256);
            Err(PinError::at("/image/sha256", message))
        }
        _ => Ok(found),
    }
}
