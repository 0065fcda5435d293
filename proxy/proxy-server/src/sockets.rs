//! The sockets of both ports: opened here, or given by who started the process.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::Config;
use crate::listen::bind;
use crate::serve::{Bound, Error};

/// Sockets that are open already: from systemd, or from the process that this one takes over from.
#[derive(Debug, Default)]
pub struct Given {
    /// The data port's.
    pub data: Option<TcpListener>,
    /// The admin port's.
    pub admin: Option<TcpListener>,
}

/// Both ports' sockets. A copy of them is the same sockets: who connects is in one queue for all who have them.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) data: TcpListener,
    pub(crate) admin: TcpListener,
    /// Somebody may have connected before this process began.
    pub(crate) are_given: bool,
}

impl Sockets {
    /// Opens what was not given, at the configured addresses.
    pub async fn open(config: &Config, given: Given) -> Result<Sockets, Error> {
        let Given { data, admin } = given;
        let are_given = data.is_some();
        let data = open("data", data, config.data_listen).await?;
        let admin = open("admin", admin, config.admin_listen).await?;
        Ok(Sockets { data, admin, are_given })
    }

    /// The same sockets once more.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        let Sockets { data, admin, are_given } = self;
        Ok(Sockets { data: data.try_clone()?, admin: admin.try_clone()?, are_given: *are_given })
    }

    /// The data port's.
    pub fn data(&self) -> &TcpListener {
        &self.data
    }

    /// The admin port's.
    pub fn admin(&self) -> &TcpListener {
        &self.admin
    }

    pub(crate) fn bound(&self) -> io::Result<Bound> {
        Ok(Bound { data: self.data.local_addr()?, admin: self.admin.local_addr()? })
    }
}

async fn open(port: &'static str, given: Option<TcpListener>, address: SocketAddr) -> Result<TcpListener, Error> {
    let wrong = |source| Error::Listen { port, address, source };
    let socket = match given {
        Some(socket) => socket,
        None => bind(address).await.and_then(tokio::net::TcpListener::into_std).map_err(wrong)?,
    };
    socket.set_nonblocking(true).map_err(wrong)?;
    Ok(socket)
}
