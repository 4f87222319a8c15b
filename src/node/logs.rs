//! Lends the runtime's log files to the API.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::api::LogReader;
use crate::model::LogQuery;
use crate::runtime;

/// Pieces that may wait for a slow reader.
const PIECES_MAX: usize = 8;

pub struct Logs(pub runtime::Logs);

impl LogReader for Logs {
    fn read(&self, query: LogQuery) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let logs = self.0.clone();
        tokio::task::spawn_local(async move {
            let attempt = query.attempt.clone();
            if let Err(e) = logs.read(query, sender).await {
                tracing::warn!("read the log of {attempt}: {e}");
            }
        });
        receiver
    }
}
