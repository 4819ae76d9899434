//! What is below a request: connections, certificates, proxies, and how long silence is borne.

use crate::certs::certificates;
use crate::client::Response;
use crate::origin::Origin;
use crate::proxy::Routes;
use crate::{Options, Result};
use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody};

#[derive(Debug)]
pub(crate) struct Transport {
    agent: Agent,
    /// The registry, if it speaks TLS: the only one that sees our certificate.
    home: Origin,
    routes: Routes,
    /// The proxy that `agent` itself uses.
    usual: Option<ureq::Proxy>,
    /// For everybody but the registry, where we have a certificate of our own.
    elsewhere: Option<TlsConfig>,
}

impl Transport {
    pub(crate) fn new(options: &Options, home: Origin) -> Result<Self> {
        let routes = Routes::new(&options.proxies)?;
        let plain = options.plain_http || home.is_loopback();
        let usual = routes.to(&Origin { scheme: if plain { "http" } else { "https" }.into(), ..home.clone() }).cloned();
        let roots = roots(options)?;
        let ours = options.certificates.ours.clone();
        let elsewhere = ours.is_some().then(|| TlsConfig::builder().root_certs(roots.clone()).build());
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(options.user_agent.clone())
            .accept_encoding("identity")
            .max_idle_connections_per_host(8)
            .timeout_connect(Some(options.patience.min(std::time::Duration::from_secs(30))))
            .timeout_recv_response(Some(options.patience))
            .timeout_per_read(Some(options.patience))
            .timeout_per_write(Some(options.patience))
            .proxy(usual.clone())
            .tls_config(TlsConfig::builder().root_certs(roots).client_cert(ours).build())
            .build()
            .new_agent();
        Ok(Self { agent, home, routes, usual, elsewhere })
    }

    /// One request, by the way that its host wants.
    pub(crate) fn run<B: AsSendBody>(&self, request: Request<B>) -> std::result::Result<Response, ureq::Error> {
        let Some(place) = Origin::of(&request.uri().to_string()) else {
            return Err(ureq::Error::BadUri(request.uri().to_string()));
        };
        let proxy = self.routes.to(&place).cloned();
        let tls = self.elsewhere.as_ref().filter(|_| place != self.home);
        // A configuration of its own costs a request the sessions of the agent.
        if proxy == self.usual && tls.is_none() {
            return self.agent.run(request);
        }
        let configured = self.agent.configure_request(request).proxy(proxy);
        let request = match tls {
            Some(tls) => configured.tls_config(tls.clone()).build(),
            None => configured.build(),
        };
        self.agent.run(request)
    }
}

/// Mozilla's authorities or the user's, and those of the registry besides: docker's rule.
fn roots(options: &Options) -> Result<RootCerts> {
    let own = &options.certificates.authorities;
    let mut all: Vec<Certificate<'static>> = match &options.authorities {
        Some(path) => certificates(path)?,
        None if own.is_empty() => return Ok(RootCerts::WebPki),
        None => webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der)).collect(),
    };
    all.extend(own.iter().cloned());
    Ok(all.into())
}
