//! HTTP routers over the services: the same router runs in Lambda and in serve.
