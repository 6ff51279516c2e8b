//! Plans, spend caps, invoices, and what the same traffic would cost elsewhere.

use ::http::Method;
use serde_json::Value;
use skep_meter::Terms;

use super::{Api, Root, Sent, json, segment};
use crate::error::Result;

impl Api {
    /// The plans that there are.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn plans(&self) -> Result<Value> {
        self.get(Root::OwnTop, "/plans").await
    }

    /// The account's plan, its terms, and what is used of its limits.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn billing(&self) -> Result<Value> {
        self.get(Root::Own, "/billing").await
    }

    /// Sets the account's spend cap and the limits of its Workers. They hold when this is answered.
    ///
    /// # Errors
    /// When a value cannot hold.
    pub async fn put_terms(&self, terms: &Terms) -> Result<Value> {
        self.send(Method::PUT, Root::Own, "/billing", json(terms)).await
    }

    /// Gives an account a plan.
    ///
    /// # Errors
    /// When there is no such account or plan: it takes the permission `operator`.
    pub async fn put_plan(&self, account: &str, plan: &str) -> Result<Value> {
        let path = format!("/accounts/{}/plan", segment(account));
        self.send(Method::PUT, Root::Own, &path, json(serde_json::json!({ "plan": plan }))).await
    }

    /// The account's invoice of a month, such as `2026-11`.
    ///
    /// # Errors
    /// When there is no such month.
    pub async fn invoice(&self, month: &str) -> Result<Value> {
        self.get(Root::Own, &format!("/invoices/{}", segment(month))).await
    }

    /// The same as a text: `csv` or `html`.
    ///
    /// # Errors
    /// When there is no such month.
    pub async fn invoice_as(&self, month: &str, format: &str) -> Result<String> {
        let path = format!("/invoices/{}?format={}", segment(month), segment(format));
        self.text(Method::GET, Root::Own, &path, Sent::Nothing).await
    }

    /// What the traffic of a month would cost elsewhere, and on a virtual machine of this price and with so many cores.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn compare(&self, month: Option<&str>, vm_price: Option<&str>, vm_cores: Option<u32>) -> Result<Value> {
        let cores = vm_cores.map(|cores| cores.to_string());
        let given = [("month", month), ("vm_price", vm_price), ("vm_cores", cores.as_deref())];
        let given = given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", segment(value?))));
        let query = given.collect::<Vec<_>>().join("&");
        self.get(Root::Own, &format!("/usage/comparison?{query}")).await
    }
}
