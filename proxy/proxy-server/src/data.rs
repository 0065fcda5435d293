//! The data port: everything below `/v1/`, and whether the proxy lives and is ready.

mod head;

use std::future::Future;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use crate::config::Tenant;
use crate::exchange::{ClientBody, Refusal, authenticate, exchange};
use crate::listen::Answers;
use crate::proxy::Proxy;
use crate::readiness::why_not_ready;
use crate::wire::Endpoint;
use head::check_head;

/// Lists the models.
const MODELS: &str = "/v1/models";
/// What stands before a model's id in the path of its own object.
const MODEL: &str = "/v1/models/";

/// Answers on the data port.
#[derive(Clone)]
pub(crate) struct Data(pub Arc<Proxy>);

impl Answers for Data {
    type Body = ClientBody;

    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response<ClientBody>> + Send + 'static {
        let Data(proxy) = self;
        async move {
            if let Err(refusal) = check_head(request.version(), request.uri(), request.headers()) {
                return refusal.answer();
            }
            match (request.method(), request.uri().path()) {
                (&Method::GET | &Method::HEAD, path) if path == MODELS || path.starts_with(MODEL) => {
                    match (
                        authenticate(&proxy.tenants, request.headers(), proxy.clock.now_unix_ms()),
                        path.strip_prefix(MODEL),
                    ) {
                        (Err(refusal), _) => refusal.answer(),
                        (Ok(tenant), None) => models(&proxy, &tenant),
                        (Ok(tenant), Some(id)) => model(&proxy, &tenant, id),
                    }
                }
                (_, path) if path.starts_with("/v1/") || Endpoint::of(path) != Endpoint::Other => {
                    // In a place of its own: it is large, and would be moved with each future around it.
                    Box::pin(exchange(proxy, request)).await
                }
                (&Method::GET | &Method::HEAD, "/readyz") => ready(&proxy),
                (&Method::GET | &Method::HEAD, "/health" | "/healthz") => Response::new(ClientBody::whole("ok")),
                (_, path) => Refusal::UnknownPath { path: path.to_owned() }.answer(),
            }
        }
    }
}

fn ready(proxy: &Proxy) -> Response<ClientBody> {
    let Some(why) = why_not_ready(proxy) else { return Response::new(ClientBody::whole("ok")) };
    let mut answer = Response::new(ClientBody::whole(why));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

/// Every model that a healthy replica serves, as that replica lists it, and those that only other regions serve; of all
/// of them those that the tenant may use.
fn models(proxy: &Proxy, tenant: &Tenant) -> Response<ClientBody> {
    let models = proxy.fleet.models();
    let usable = models.iter().filter(|model| tenant.may_use(&model.id));
    let objects: Vec<&str> = usable.map(|model| model.object.get()).collect();
    json(format!(r#"{{"object":"list","data":[{}]}}"#, objects.join(",")))
}

fn model(proxy: &Proxy, tenant: &Tenant, id: &str) -> Response<ClientBody> {
    // Clients write the slash of `org/name` as it is or as `%2F`.
    let id = percent_decode_str(id).decode_utf8_lossy();
    match proxy.fleet.models().into_iter().find(|model| model.id == id && tenant.may_use(&model.id)) {
        Some(model) => json(model.object.get().to_owned()),
        None => Refusal::UnknownModel { model: id.into_owned() }.answer(),
    }
}

fn json(text: String) -> Response<ClientBody> {
    let mut answer = Response::new(ClientBody::whole(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
