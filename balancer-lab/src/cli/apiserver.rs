//! `balancer-lab apiserver`

use std::{fs, io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use balancer_lab::apiserver::{ApiServer, Options, control, objects};
use tokio::net::UnixListener;

/// Serve a double of the Kubernetes API for kubectl, an agent, or any other client
///
/// Served are Services, EndpointSlices, Nodes, Pods, Namespaces and Events. The folder gets
/// `kubeconfig`, `ca.crt`, `token`, and the socket `control`, which takes orders over HTTP.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    balancer-lab apiserver --dir /tmp/api &\n  \
    kubectl --kubeconfig /tmp/api/kubeconfig apply -f deploy/demo\n  \
    balancer-agent run --kubeconfig /tmp/api/kubeconfig\n  \
    curl --unix-socket /tmp/api/control -X POST http://lab/cut?count=1\n\n\
    Orders: /put and /remove with objects in YAML as the body; /away, /back, /hang-up, /compact,\n\
    /expire-tokens, /renew-token; /slow?ms=N, /cut?count=N, /garbage?count=N,\n\
    /fail?status=N&count=N; GET /seen")]
pub(super) struct Arguments {
    /// Folder for the kubeconfig and the control socket
    #[arg(long)]
    dir: PathBuf,
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Objects to begin with, as YAML; may be repeated
    #[arg(long, value_name = "FILE")]
    load: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let dir = std::path::absolute(&arguments.dir)?;
    let options = Options { listen: arguments.listen, ..Options::default() };
    let server = ApiServer::start(&dir, options)?;
    for path in &arguments.load {
        let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        for object in objects(&text).with_context(|| format!("parse {}", path.display()))? {
            server.put(&object).with_context(|| format!("load {}", path.display()))?;
        }
    }
    let socket = dir.join("control");
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", socket.display()));
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("listen on {}", socket.display()))?;
        // In one piece: who reads the first line may not wait for the second.
        let kubeconfig = server.kubeconfig();
        let text = format!(
            "serving on https://{}\nkubeconfig: {}\n",
            server.address(),
            kubeconfig.display()
        );
        std::io::stdout().write_all(text.as_bytes())?;
        control(Arc::new(server), listener).await?;
        Ok(())
    })
}
