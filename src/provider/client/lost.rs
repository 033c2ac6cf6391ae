//! What a transport error means. Its own words are not passed on: they may hold the address with a password.

use std::error::Error;
use std::io;

use super::Lost;

pub(super) fn why(error: &reqwest::Error) -> Lost {
    if error.is_builder() || error.is_redirect() {
        return Lost::Address;
    }
    if error.is_dns() {
        return Lost::Name;
    }
    if causes(error).any(certificate) {
        return Lost::Certificate;
    }
    if causes(error).any(too_many_headers) {
        return Lost::Headers;
    }
    if error.is_connect() || causes(error).any(refused) {
        return Lost::Connection;
    }
    // The decoder's own errors come bare; a connection's, also below a decoder, come as hyper's.
    if error.is_decode() && error.source().is_some_and(|cause| cause.is::<io::Error>()) {
        return Lost::Encoding;
    }
    Lost::Cut
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// OpenSSL has no type for it that could be reached from here.
fn certificate(cause: &(dyn Error + 'static)) -> bool {
    let text = cause.to_string();
    text.contains("certificate verify failed") || text.contains("self-signed certificate")
}

/// hyper's own type is not reached through reqwest.
fn too_many_headers(cause: &(dyn Error + 'static)) -> bool {
    cause.to_string().contains("message head is too large")
}

fn refused(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
