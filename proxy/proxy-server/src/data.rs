//! The data port: everything below `/v1/`, and nothing else.

use std::future::Future;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::exchange::{ClientBody, Refusal, exchange};
use crate::listen::Answers;
use crate::proxy::Proxy;

/// Answers on the data port.
#[derive(Clone)]
pub(crate) struct Data(pub Arc<Proxy>);

impl Answers for Data {
    type Body = ClientBody;

    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response<ClientBody>> + Send + 'static {
        let Data(proxy) = self;
        async move {
            match (request.method(), request.uri().path()) {
                (&Method::GET, "/v1/models") => models(&proxy),
                (&Method::GET, path) if path.starts_with("/v1/models/") => model(&proxy, &path["/v1/models/".len()..]),
                (_, path) if path.starts_with("/v1/") => exchange(proxy, request).await,
                (&Method::GET, "/health") => Response::new(ClientBody::whole("ok")),
                (_, path) => Refusal::UnknownPath { path: path.to_owned() }.answer(),
            }
        }
    }
}

/// Every model that a healthy replica serves, as that replica lists it, and those that only other regions serve.
fn models(proxy: &Proxy) -> Response<ClientBody> {
    let objects: Vec<String> = proxy.fleet.models().iter().map(|model| model.object.get().to_owned()).collect();
    json(format!(r#"{{"object":"list","data":[{}]}}"#, objects.join(",")))
}

fn model(proxy: &Proxy, id: &str) -> Response<ClientBody> {
    match proxy.fleet.models().into_iter().find(|model| model.id == id) {
        Some(model) => json(model.object.get().to_owned()),
        None => Refusal::UnknownModel { model: id.to_owned() }.answer(),
    }
}

fn json(text: String) -> Response<ClientBody> {
    let mut answer = Response::new(ClientBody::whole(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
