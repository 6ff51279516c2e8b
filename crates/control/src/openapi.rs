//! The OpenAPI document, made of the table of endpoints. <https://spec.openapis.org/oas/v3.1.0>

use serde_json::{Map, Value, json};

use crate::endpoint::{Access, Endpoint};
use crate::server::name;

/// The document that describes the API.
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in crate::endpoints() {
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_ascii_lowercase()] = operation(&endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Skep",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Cloudflare's REST API for Workers as far as wrangler uses it, and Skep's own under /skep/v1. Every answer of Cloudflare's API is in its envelope.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/client/v4" }],
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Envelope": {
                    "type": "object",
                    "required": ["success", "errors", "messages", "result"],
                    "properties": {
                        "success": { "type": "boolean" },
                        "errors": { "type": "array", "items": { "$ref": "#/components/schemas/Message" } },
                        "messages": { "type": "array", "items": { "$ref": "#/components/schemas/Message" } },
                        "result": {},
                        "result_info": { "type": "object" },
                    },
                },
                "Message": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": { "code": { "type": "integer" }, "message": { "type": "string" } },
                },
            },
        },
        "paths": paths,
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let parameters: Vec<Value> = endpoint
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|parameter| json!({ "name": parameter.trim_start_matches('*'), "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let mut operation = json!({
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {
            "default": {
                "description": "The result, or what went wrong",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Envelope" } } },
            },
        },
    });
    match endpoint.access {
        Access::Public | Access::Bearer => {}
        Access::Token => operation["security"] = json!([{ "token": [] }]),
        Access::Account(permission) | Access::Zone(permission) => {
            operation["security"] = json!([{ "token": [name(permission)] }]);
        }
    }
    operation
}
