//! Who we are to a registry: what the Docker configuration says, `docker login` or a helper wrote it.

use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

use super::error::SourceError;

/// What credential helpers say of a registry that they know nothing of.
/// <https://github.com/docker/docker-credential-helpers/blob/master/credentials/error.go>
const NOT_FOUND: &str = "credentials not found";

/// The credentials for `registry`; nobody's where the Docker configuration has none.
///
/// # Errors
///
/// It has some that cannot be used, which is better told than a refusal of nobody.
pub(super) fn credentials(registry: &str) -> Result<RegistryAuth, SourceError> {
    let Some(path) = configuration().filter(|path| path.exists()) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let unusable = |why: String| SourceError::Credentials {
        registry: registry.to_owned(),
        path: path.clone(),
        why,
    };
    match docker_credential::get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(RegistryAuth::Basic(user, password))
        }
        Ok(DockerCredential::IdentityToken(_)) => Err(unusable(
            "it is an identity token, which Wharf cannot exchange; log in with a password or an \
             access token"
                .to_owned(),
        )),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound,
        ) => Ok(RegistryAuth::Anonymous),
        Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
            if stdout.contains(NOT_FOUND) || stderr.contains(NOT_FOUND) =>
        {
            Ok(RegistryAuth::Anonymous)
        }
        Err(error) => Err(unusable(error.to_string().trim_end().to_owned())),
    }
}

/// Where Docker keeps it.
fn configuration() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let directory = named.or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".docker"))
    })?;
    Some(directory.join("config.json"))
}
