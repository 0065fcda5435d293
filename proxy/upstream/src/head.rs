//! Reads the head of an answer, and how its body ends.

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};

use crate::error::Error;
use crate::reader::Reader;

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of an answer.
pub(crate) const HEADERS_MAX: usize = 128;

/// An answer's head.
pub(crate) struct Head {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub reader: Reader,
    /// The connection can be used for another request, once the body has ended.
    pub keep: bool,
}

/// What an answer is to.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub method: &'a Method,
    /// The request has `Upgrade`.
    pub to_switch: bool,
}

/// Takes the next final head out of what was read; `None` until it is whole. Interim answers (1xx) are skipped.
pub(crate) fn take_head(read: &mut BytesMut, asked: Asked<'_>) -> Result<Option<Head>, Error> {
    while let Some(head) = take_any(read, asked.method)? {
        match head.status {
            StatusCode::SWITCHING_PROTOCOLS if asked.to_switch => return Ok(Some(Head { keep: false, ..head })),
            StatusCode::SWITCHING_PROTOCOLS => return Err(Error::Broken("it switches to a protocol nobody asked for")),
            status if status.is_informational() => {}
            _ => return Ok(Some(head)),
        }
    }
    Ok(None)
}

fn take_any(read: &mut BytesMut, method: &Method) -> Result<Option<Head>, Error> {
    if read.is_empty() {
        return Ok(None);
    }
    let mut lines = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut answer, read, &mut lines) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if read.len() > HEAD_BYTES_MAX => {
            return Err(Error::Broken("its head is too long"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Error::Broken("it has too many headers")),
        Err(_) => return Err(Error::Broken("its head cannot be read")),
    };
    if len > HEAD_BYTES_MAX {
        return Err(Error::Broken("its head is too long"));
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Error::Broken("its status is none"))?;
    let version = if answer.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(answer.headers.len());
    let begin = read.as_ptr() as usize;
    let mut places = [(0, 0); HEADERS_MAX];
    for (place, line) in places.iter_mut().zip(&*answer.headers) {
        *place = (line.value.as_ptr() as usize - begin, line.value.len());
    }
    let mut names = Vec::with_capacity(answer.headers.len());
    for line in &*answer.headers {
        names.push(name_of(line.name)?);
    }
    // Values share the head's bytes.
    let bytes = read.split_to(len).freeze();
    for (name, (at, len)) in names.into_iter().zip(places) {
        let value = HeaderValue::from_maybe_shared(bytes.slice(at..at + len));
        headers.append(name, value.map_err(|_| Error::Broken("a header's value cannot be read"))?);
    }
    let reader = reader_for(method, status, version, &headers)?;
    let keep = keeps(version, &headers) && !matches!(reader, Reader::Close);
    Ok(Some(Head { status, version, headers, reader, keep }))
}

pub(crate) fn name_of(name: &str) -> Result<HeaderName, Error> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::Broken("a header's name cannot be read"))
}

/// RFC 9112, section 6.3, without what is let pass there and smuggles answers.
fn reader_for(method: &Method, status: StatusCode, version: Version, headers: &HeaderMap) -> Result<Reader, Error> {
    let coded = headers.contains_key(TRANSFER_ENCODING);
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if coded && length.is_some() {
        return Err(Error::Broken("it has both a length and a transfer coding"));
    }
    if lengths.next().is_some() {
        return Err(Error::Broken("it has two lengths"));
    }
    let length = length.map(length_of).transpose()?;
    if *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Ok(Reader::Over);
    }
    match (coded, length) {
        (true, _) if version == Version::HTTP_10 => Err(Error::Broken("it has a transfer coding in HTTP/1.0")),
        (true, _) => chunked(headers),
        (false, Some(length)) => Ok(Reader::of_length(length)),
        (false, None) => Ok(Reader::Close),
    }
}

fn length_of(value: &HeaderValue) -> Result<u64, Error> {
    let wrong = Error::Broken("its length is not a number");
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or(wrong)
}

fn chunked(headers: &HeaderMap) -> Result<Reader, Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Reader::chunked()),
        _ => Err(Error::Broken("its transfer coding is not chunked alone")),
    }
}

fn keeps(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    match version {
        Version::HTTP_10 => says("keep-alive"),
        _ => !says("close"),
    }
}

#[cfg(test)]
mod tests;
