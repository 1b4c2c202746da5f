//! A `Dockerfile`: Wharf and the application's components are built in one stage, and the image has the
//! binary, the manifest and the artifacts, and no shell.

use std::path::Path;

use super::{Subject, Written, head};

/// The files.
pub(super) fn write(subject: &Subject<'_>) -> Written {
    let components = subject.application.components.values();
    let artifacts: Vec<&Path> = components.clone().map(|c| c.artifact.built()).collect();
    let root = subject.place.root(&artifacts);
    let manifest = root.seen(subject.place.manifest_path());
    let c_toolchain = components.clone().any(|component| {
        component
            .build
            .as_ref()
            .is_some_and(|build| build.c_toolchain)
    });
    let context = subject.place.seen_root(&root);
    let image = format!("{}/{}:latest", subject.registry, subject.application.name);
    let notes = vec![format!(
        "Build it from the directory that everything is below: `docker build -f Dockerfile --build-context \
         wharf=WHARF -t {image} {context}`, where WHARF is a checkout of Wharf."
    )];
    let mut text = format!(
        "# syntax=docker/dockerfile:1\n{}",
        head("docker", subject, &notes)
    );
    text.push_str("FROM rust:1.95-bookworm AS build\n");
    if c_toolchain {
        text.push_str(
            "# For components that compile C.\n\
             RUN apt-get update \\\n    && apt-get install -y --no-install-recommends \\\n       \
             clang lld libclang-rt-14-dev-wasm32 wasi-libc make \\\n    && rm -rf /var/lib/apt/lists/*\n",
        );
    }
    text.push_str(
        "RUN rustup target add wasm32-wasip2\n\
         COPY --from=wharf . /wharf\n\
         RUN cargo build --release --locked --bin wharf --manifest-path /wharf/Cargo.toml\n\
         WORKDIR /app\n\
         COPY . .\n",
    );
    text.push_str(&format!(
        "RUN /wharf/target/release/wharf build {manifest}\n\n"
    ));
    text.push_str(
        "# The C library and nothing else; no shell, no root.\n\
         FROM gcr.io/distroless/cc-debian12:nonroot\n\
         COPY --from=build /wharf/target/release/wharf /usr/local/bin/wharf\n",
    );
    text.push_str(&format!(
        "COPY --from=build /app/{manifest} /app/{manifest}\n"
    ));
    for artifact in &artifacts {
        let path = root.seen(artifact);
        text.push_str(&format!("COPY --from=build /app/{path} /app/{path}\n"));
    }
    text.push_str(&format!(
        "# Durable state: mount a volume here.\n\
         VOLUME /state\n\
         ENV HOME=/state\n\
         EXPOSE 8080 9090\n\
         STOPSIGNAL SIGTERM\n\
         ENTRYPOINT [\"/usr/local/bin/wharf\", \"up\", \"/app/{manifest}\", \"--no-build\", \"--state-dir\", \"/state\", \
         \"--http\", \"0.0.0.0:8080\", \"--admin\", \"0.0.0.0:9090\"]\n"
    ));
    let ignore =
        "# Nothing that was built, and no state.\n**/target\n**/node_modules\n**/.wharf\n.git\n";
    Written {
        files: [
            ("Dockerfile".to_owned(), text),
            ("Dockerfile.dockerignore".to_owned(), ignore.to_owned()),
        ]
        .into(),
        notes,
    }
}
