//! Asks servers on behalf of one fetch: redirects, logins, tries. One for each thread. Does not know what it asks for.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use hyper::{Method, StatusCode};

use crate::model::RegistriesConfig;

use super::auth::{Doorkeeper, challenges};
use super::hosts::{self, Endpoint};
use super::trouble::Trouble;
use crate::transport::http::{Client, Fault, Request, Response};
use crate::transport::retry::{self, Retries};
use crate::transport::url::Url;

const REDIRECTS_MAX: usize = 5;

/// A request that can be sent as often as needed.
#[derive(Clone)]
pub struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct Wire<'a> {
    pub client: Client<'a>,
    pub config: &'a RegistriesConfig,
    pub doorkeeper: &'a Doorkeeper,
    /// As for each piece of work when it begins.
    pub retries: Retries,
}

impl Wire<'_> {
    /// Asks an endpoint until it gives an answer that counts; any status but those that pass.
    pub fn call(
        &mut self,
        endpoint: &Endpoint,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        self.patiently(|wire| wire.once(endpoint, method.clone(), path, headers))
    }

    /// As [`Wire::call`], but one try.
    pub fn once(
        &mut self,
        endpoint: &Endpoint,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let mut last = None;
        for scheme in endpoint.schemes() {
            let url = endpoint.url(*scheme, path);
            let ask = Ask { method: method.clone(), url, headers: headers.clone(), body: Bytes::new() };
            match self.admitted(endpoint, &ask) {
                Err(Step::Fault(fault @ (Fault::NoTls(_) | Fault::Unconnected(_)), host)) => {
                    last = Some(Trouble::of(fault, &host))
                }
                Err(Step::Fault(fault, host)) => return Err(Trouble::of(fault, &host)),
                Err(Step::Trouble(trouble)) => return Err(trouble),
                Ok(response) => {
                    endpoint.answered(*scheme);
                    return Ok(response);
                }
            }
        }
        Err(last.unwrap_or_else(|| Trouble::passing(format!("{} was not asked", endpoint.host))))
    }

    /// Does it again, after a wait, while that may help.
    pub fn patiently<T>(&mut self, mut act: impl FnMut(&mut Self) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut retries = self.retries.clone();
        loop {
            match act(self) {
                Err(trouble) => self.wait_after(trouble, &mut retries)?,
                Ok(done) => return Ok(done),
            }
        }
    }

    /// Lets the time pass that this trouble needs; gives it back where waiting does not help any more.
    pub fn wait_after(&mut self, trouble: Trouble, retries: &mut Retries) -> Result<(), Trouble> {
        let after = match &trouble {
            Trouble::Passing { after, .. } => *after,
            Trouble::Lasting(_) => return Err(trouble),
        };
        match retries.next(after, retry::random()) {
            Some(wait) => self.client.pause(wait).map_err(|fault| Trouble::of(fault, "")),
            None => Err(trouble),
        }
    }

    /// The whole body of an answer.
    pub fn body(&self, response: &mut Response, most: usize, from: &Url) -> Result<Vec<u8>, Trouble> {
        let body = self.client.read_all(response, most).map_err(|fault| Trouble::of(fault, &from.authority))?;
        body.ok_or_else(|| {
            Trouble::refused(format!("{from} sends more than {most} bytes where a short answer belongs"))
        })
    }

    /// Follows redirects. `Authorization` goes to the first server alone.
    ///
    /// # Errors
    /// As [`Trouble`]; a status that passes is one.
    pub fn follow(&mut self, ask: &Ask) -> Result<(Response, Url), Trouble> {
        self.followed(ask).map_err(Step::into_trouble)
    }

    fn followed(&mut self, ask: &Ask) -> Result<(Response, Url), Step> {
        let mut ask = ask.clone();
        for _ in 0..=REDIRECTS_MAX {
            let judge = hosts::judge(&ask.url, self.config);
            let request = Request {
                method: ask.method.clone(),
                url: &ask.url,
                judge: &judge,
                headers: ask.headers.clone(),
                body: ask.body.clone(),
            };
            let response = self.client.send(&request).map_err(|fault| Step::Fault(fault, ask.url.authority.clone()))?;
            if let Some(trouble) = passing(&response, &ask.url) {
                return Err(Step::Trouble(trouble));
            }
            let moved = matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) && ask.method != Method::POST;
            let Some(location) = response.header(LOCATION).filter(|_| moved) else { return Ok((response, ask.url)) };
            let next = ask.url.join(location).filter(|next| hosts::may_follow(&ask.url, next, self.config));
            let next = next.ok_or_else(|| {
                let from = &ask.url;
                Step::Trouble(Trouble::refused(format!(
                    "{from} redirects to an address that is not safe to use (no HTTPS)"
                )))
            })?;
            if !next.is_same_origin(&ask.url) {
                ask.headers.remove(AUTHORIZATION);
            }
            ask.url = next;
        }
        Err(Step::Trouble(Trouble::refused(format!("{} redirects more than {REDIRECTS_MAX} times", ask.url))))
    }

    /// Follows, and proves who asks where the server wants to know.
    fn admitted(&mut self, endpoint: &Endpoint, ask: &Ask) -> Result<Response, Step> {
        let host = endpoint.host.as_str();
        let doorkeeper = self.doorkeeper;
        let mut proof = doorkeeper.proof(host);
        let (mut is_fresh, mut pinged) = (false, false);
        loop {
            let mut ask = ask.clone();
            if let Some(proof) = &proof {
                ask.headers.insert(AUTHORIZATION, proof.header.clone());
            }
            let (response, from) = self.followed(&ask)?;
            // Whoever we were redirected to gets no login, whatever it asks for.
            let asks = response.status == StatusCode::UNAUTHORIZED && from.is_same_origin(&ask.url);
            let denies = matches!(response.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
            let (wanted, first) = match &proof {
                // A token may have expired: the same login gets another one, once.
                Some(old) if asks => (challenges(&response), old.login + usize::from(is_fresh)),
                // Another login may see more.
                Some(old) if denies && old.login + 1 < doorkeeper.logins(host) => {
                    (old.challenges.clone(), old.login + 1)
                }
                None if asks => (challenges(&response), 0),
                None if denies && !pinged && doorkeeper.logins(host) > 0 => {
                    pinged = true;
                    (self.ping(&ask)?, 0)
                }
                Some(_) | None => return Ok(response),
            };
            if wanted.is_empty() {
                return Ok(response);
            }
            let answer = doorkeeper.answer(self, (host, &from), &wanted, first).map_err(Step::Trouble)?;
            let Some(answer) = answer else { return Ok(response) };
            (proof, is_fresh) = (Some(answer), true);
        }
    }

    /// Some registries hide from strangers that they want a login; `/v2/` tells.
    fn ping(&mut self, ask: &Ask) -> Result<Vec<super::challenge::Challenge>, Step> {
        let url = Url { path: "/v2/".into(), ..ask.url.clone() };
        let (response, from) = self.followed(&Ask {
            method: Method::GET,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        })?;
        let asks = response.status == StatusCode::UNAUTHORIZED && from.is_same_origin(&url);
        Ok(if asks { challenges(&response) } else { Vec::new() })
    }
}

/// Faults are kept apart until it is known whether another scheme may be tried.
enum Step {
    Fault(Fault, String),
    Trouble(Trouble),
}

impl Step {
    fn into_trouble(self) -> Trouble {
        match self {
            Step::Fault(fault, host) => Trouble::of(fault, &host),
            Step::Trouble(trouble) => trouble,
        }
    }
}

/// A server's own failure, or too many requests.
fn passing(response: &Response, url: &Url) -> Option<Trouble> {
    let why = match response.status.as_u16() {
        408 => format!("{url} waited too long for the request"),
        429 => format!("too many requests: {url} limits how often it is asked; log in to it or use a mirror"),
        // 501 and 505 say what the server cannot do, today and tomorrow.
        500 | 502..=504 | 506..=599 => format!("{url} has failed by itself: {}", response.status),
        _ => return None,
    };
    let after = response.header(RETRY_AFTER).and_then(|after| retry::retry_after(after, jiff::Timestamp::now()));
    Some(Trouble::Passing { why, after })
}
