//! A manifest's own part in two forms: the document as it was sent (defaults filled in, order kept), which is the
//! stored truth and what `get -o yaml` shows, and the typed view of it that the core reads.

use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Reads like its typed view (`job.spec.parallelism`), is stored and shown as its document (`job.spec.document()`).
/// Cheap to clone: the pods of one Job share one of these.
#[derive(Debug)]
pub struct Spec<View> {
    document: Arc<Value>,
    view: Arc<View>,
}

impl<View: DeserializeOwned> Spec<View> {
    /// The typed view of a document.
    ///
    /// # Errors
    /// serde's text when a field has another type than the view wants; manifests were checked before, with paths and
    /// lines, so this is met only by a damaged store or a newer format.
    pub fn new(document: Value) -> Result<Spec<View>, serde_json::Error> {
        let view = View::deserialize(&document)?;
        Ok(Spec { document: Arc::new(document), view: Arc::new(view) })
    }
}

impl<View> Spec<View> {
    pub fn document(&self) -> &Value {
        &self.document
    }

    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
}

impl<View> Deref for Spec<View> {
    type Target = View;
    fn deref(&self) -> &View {
        &self.view
    }
}

impl<View> Clone for Spec<View> {
    fn clone(&self) -> Self {
        Spec { document: self.document.clone(), view: self.view.clone() }
    }
}

impl<View> PartialEq for Spec<View> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.document, &other.document) || self.document == other.document
    }
}

impl<View> Serialize for Spec<View> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.document.serialize(s)
    }
}

impl<'de, View: DeserializeOwned> Deserialize<'de> for Spec<View> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Spec::new(Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
