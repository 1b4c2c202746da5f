//! Joins the plain modules to the interfaces of the component's world, one file per task.
//!
//! The host gives every request and every message a fresh instance, so the code blocks and keeps
//! nothing. Whatever a handler still holds when its client goes away is dropped by the host, which
//! discards an object that is not finished.

mod accounts;
mod answer;
mod caller;
mod download;
mod events;
mod exchange;
mod jobs;
mod log;
mod object;
mod page;
mod reports;
mod store;
mod upload;

use crate::bindings::exports::wasi::http::incoming_handler;
use crate::bindings::exports::wasmcloud::messaging::handler;
use crate::bindings::wasi::http::types::{IncomingRequest, ResponseOutparam};
use crate::bindings::wasmcloud::messaging::types::BrokerMessage;
use crate::route::Route;
use answer::Answer;
use exchange::{Exchange, Request};

/// The component.
pub struct Gateway;

impl incoming_handler::Guest for Gateway {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let request = Request::new(request);
        let exchange = Exchange::new(response_out, request.method() == "HEAD");
        serve(request, exchange);
    }
}

impl handler::Guest for Gateway {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        reports::handle(&message.subject, &message.body)
    }
}

/// Finds the resource, checks the method and, where it matters, the caller; then lets the resource's
/// own module answer.
fn serve(request: Request, exchange: Exchange) {
    let Some(route) = Route::of(request.path()) else {
        return exchange.send(Answer::not_found());
    };
    if !route.methods().contains(&request.method()) {
        return exchange.send(Answer::method_not_allowed(route.methods()));
    }
    match route {
        Route::Asset(asset) => exchange.send(page::answer(&request, asset)),
        Route::Account(path) => accounts::pass_on(&request, exchange, path),
        Route::Upload
        | Route::Jobs
        | Route::Job(_)
        | Route::Events(_)
        | Route::Download
        | Route::Notices => serve_caller(request, exchange, route),
    }
}

fn serve_caller(request: Request, exchange: Exchange, route: Route) {
    let caller = match caller::of(&request) {
        Ok(caller) => caller,
        Err(refusal) => return exchange.send(refusal),
    };
    match route {
        Route::Upload => upload::receive(&request, exchange, &caller.user),
        Route::Jobs => exchange.send(jobs::list(&request, &caller.user)),
        Route::Job(id) if request.method() == "DELETE" => {
            exchange.send(jobs::delete(&caller.user, &id));
        }
        Route::Job(id) => exchange.send(jobs::show(&caller.user, &id)),
        Route::Events(id) => events::stream(exchange, &caller, &id),
        Route::Download => download::send(&request, exchange, &caller.user),
        Route::Notices => exchange.send(jobs::notices(&request, &caller.user)),
        Route::Asset(_) | Route::Account(_) => exchange.send(Answer::not_found()),
    }
}
