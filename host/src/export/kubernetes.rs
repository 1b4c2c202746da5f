//! Kubernetes objects that run Wharf itself, with the application in its image, on several replicas that
//! share Redis and an object store.

use super::yaml::Yaml;
use super::{Subject, Written, head};
use crate::manifest::model::Component;

/// Hosts: one may be away, and another may die meanwhile.
const REPLICAS: u32 = 3;

/// From a pod's end being decided to the host being told: load balancers learn of it first.
const PRE_STOP_SECONDS: u64 = 5;

/// What a host may take beyond its grace to give back what it did not finish.
const GIVE_BACK_SECONDS: u64 = 10;

/// A first start compiles the components: about a second for each megabyte.
const START_SECONDS_MAX: u64 = 300;

/// The user of the image.
const USER: u32 = 65532;

/// The public listener's port.
const HTTP_PORT: u16 = 8080;

/// The operators' listener's port.
const ADMIN_PORT: u16 = 9090;

/// The files.
pub(super) fn write(subject: &Subject<'_>) -> Written {
    let name = subject.application.name.as_str();
    let image = format!("{}/{name}:latest", subject.registry);
    let mut notes = vec![
        format!("Build and push the image {image} with the Dockerfile of `wharf export docker`."),
        format!(
            "Say where Redis is: `kubectl create secret generic {name}-redis \
             --from-literal=url=redis://{name}-redis:6379`. redis.yaml is one for who has none."
        ),
        format!(
            "Say where blobs are, with the store's credentials: `kubectl create secret generic {name}-blobs \
             --from-literal=WHARF_BLOB_URL=s3://BUCKET/{name} --from-literal=AWS_REGION=... ...`."
        ),
        "A rollout with `wharf swap` or `wharf apply` is made on each pod; what shall outlast a pod belongs into the \
         image."
            .to_owned(),
    ];
    let components = subject.application.components.values();
    notes.extend(components.flat_map(secrets));
    let mut yaml = Yaml::default();
    config(subject, &mut yaml);
    services(name, &mut yaml);
    stateful_set(subject, &image, &mut yaml);
    disruption_budget(name, &mut yaml);
    let text = head("kubernetes", subject, &notes) + &yaml.finish();
    let redis = head("kubernetes", subject, &[REDIS_NOTE.to_owned()]) + &redis(name);
    Written {
        files: [
            ("wharf.yaml".to_owned(), text),
            ("redis.yaml".to_owned(), redis),
        ]
        .into(),
        notes,
    }
}

const REDIS_NOTE: &str = "One Redis for who has none. What was accepted survives its death, and while it is away \
                          the application answers 503; a cluster or a managed Redis does better.";

/// Secrets that no host makes up.
fn secrets(component: &Component) -> Vec<String> {
    let secrets = component
        .secrets
        .values()
        .filter(|secret| secret.generate.is_none());
    secrets
        .map(|secret| {
            format!(
                "Component {} needs the secret {}: write it to /state/secrets/{} of each pod, with mode 0600.",
                component.name, secret.name, secret.name
            )
        })
        .collect()
}

fn labels(name: &str, part: &str, yaml: &mut Yaml) {
    yaml.pair("app.kubernetes.io/name", part)
        .pair("app.kubernetes.io/instance", name);
}

fn object(
    yaml: &mut Yaml,
    version: &str,
    kind: &str,
    name: &str,
    (application, part): (&str, &str),
) {
    yaml.document()
        .pair("apiVersion", version)
        .pair("kind", kind)
        .block("metadata", |yaml| {
            yaml.pair("name", name)
                .block("labels", |yaml| labels(application, part, yaml));
        });
}

fn config(subject: &Subject<'_>, yaml: &mut Yaml) {
    let name = subject.application.name.as_str();
    let grace = humantime::format_duration(subject.shutdown_grace);
    let text = format!(
        "state_dir = \"/state\"\n\n[http]\nlisten = \"0.0.0.0:{HTTP_PORT}\"\n\n\
         # Probes come from the node. Operators need the token in /state/admin-token.\n\
         [admin]\nlisten = \"0.0.0.0:{ADMIN_PORT}\"\n\n\
         [shutdown]\n# terminationGracePeriodSeconds is this and a little more.\ngrace = \"{grace}\"\n\n\
         [redis]\nurl_env = \"WHARF_REDIS_URL\"\nprefix = \"{name}\"\n\n\
         [blobs]\nurl_env = \"WHARF_BLOB_URL\"\n"
    );
    object(
        yaml,
        "v1",
        "ConfigMap",
        &format!("{name}-host"),
        (name, "wharf"),
    );
    yaml.block("data", |yaml| {
        yaml.text("host.toml", &text);
    });
}

fn services(name: &str, yaml: &mut Yaml) {
    object(yaml, "v1", "Service", name, (name, "wharf"));
    yaml.block("spec", |yaml| {
        yaml.block("selector", |yaml| labels(name, "wharf", yaml))
            .block("ports", |yaml| {
                yaml.element(|yaml| {
                    yaml.pair("name", "http")
                        .plain("port", 80)
                        .pair("targetPort", "http");
                });
            });
    });
    // A StatefulSet has one, and operators reach each pod by its name there.
    object(
        yaml,
        "v1",
        "Service",
        &format!("{name}-hosts"),
        (name, "wharf"),
    );
    yaml.block("spec", |yaml| {
        yaml.pair("clusterIP", "None")
            .plain("publishNotReadyAddresses", true)
            .block("selector", |yaml| labels(name, "wharf", yaml))
            .block("ports", |yaml| {
                yaml.element(|yaml| {
                    yaml.pair("name", "admin")
                        .plain("port", ADMIN_PORT)
                        .pair("targetPort", "admin");
                });
            });
    });
}

fn stateful_set(subject: &Subject<'_>, image: &str, yaml: &mut Yaml) {
    let name = subject.application.name.as_str();
    let grace = subject.shutdown_grace.as_secs() + PRE_STOP_SECONDS + GIVE_BACK_SECONDS;
    object(yaml, "apps/v1", "StatefulSet", name, (name, "wharf"));
    yaml.block("spec", |yaml| {
        yaml.pair("serviceName", format!("{name}-hosts"))
            .plain("replicas", REPLICAS)
            // Hosts do not wait for each other.
            .pair("podManagementPolicy", "Parallel")
            .block("selector", |yaml| {
                yaml.block("matchLabels", |yaml| labels(name, "wharf", yaml));
            })
            .block("template", |yaml| {
                yaml.block("metadata", |yaml| {
                    yaml.block("labels", |yaml| labels(name, "wharf", yaml));
                })
                .block("spec", |yaml| {
                    yaml.plain("terminationGracePeriodSeconds", grace)
                        .plain("automountServiceAccountToken", false)
                        .block("securityContext", pod_security)
                        .block("topologySpreadConstraints", |yaml| {
                            yaml.element(|yaml| spread(name, yaml));
                        })
                        .block("containers", |yaml| {
                            yaml.element(|yaml| container(name, image, yaml));
                        })
                        .block("volumes", |yaml| {
                            yaml.element(|yaml| {
                                yaml.pair("name", "host").block("configMap", |yaml| {
                                    yaml.pair("name", format!("{name}-host"));
                                });
                            });
                            yaml.element(|yaml| {
                                yaml.pair("name", "tmp").plain("emptyDir", "{}");
                            });
                        });
                });
            })
            .comment("Each host's own: revisions, compiled code, its name, the operators' token.")
            .block("volumeClaimTemplates", |yaml| {
                yaml.element(|yaml| claim("state", "2Gi", yaml));
            });
    });
}

fn pod_security(yaml: &mut Yaml) {
    yaml.plain("runAsNonRoot", true)
        .plain("runAsUser", USER)
        .plain("fsGroup", USER)
        .comment("Not at each start: secrets that others may read are refused.")
        .pair("fsGroupChangePolicy", "OnRootMismatch")
        .block("seccompProfile", |yaml| {
            yaml.pair("type", "RuntimeDefault");
        });
}

fn spread(name: &str, yaml: &mut Yaml) {
    yaml.plain("maxSkew", 1)
        .pair("topologyKey", "kubernetes.io/hostname")
        .pair("whenUnsatisfiable", "ScheduleAnyway")
        .block("labelSelector", |yaml| {
            yaml.block("matchLabels", |yaml| labels(name, "wharf", yaml));
        });
}

fn container(name: &str, image: &str, yaml: &mut Yaml) {
    yaml.pair("name", "wharf")
        .pair("image", image)
        .block("args", |yaml| {
            yaml.item("--host-config")
                .item("/etc/wharf/host.toml")
                .item("--log-format")
                .item("json");
        })
        .block("env", |yaml| {
            yaml.element(|yaml| {
                yaml.pair("name", "WHARF_REDIS_URL")
                    .block("valueFrom", |yaml| {
                        yaml.block("secretKeyRef", |yaml| {
                            yaml.pair("name", format!("{name}-redis"))
                                .pair("key", "url");
                        });
                    });
            });
        })
        .block("envFrom", |yaml| {
            yaml.element(|yaml| {
                yaml.block("secretRef", |yaml| {
                    yaml.pair("name", format!("{name}-blobs"));
                });
            });
        })
        .block("ports", |yaml| {
            for (port, number) in [("http", HTTP_PORT), ("admin", ADMIN_PORT)] {
                yaml.element(|yaml| {
                    yaml.pair("name", port).plain("containerPort", number);
                });
            }
        });
    probe("startupProbe", ("/readyz", 5, START_SECONDS_MAX / 5), yaml);
    probe("readinessProbe", ("/readyz", 5, 2), yaml);
    probe("livenessProbe", ("/healthz", 10, 6), yaml);
    yaml.block("lifecycle", |yaml| {
        yaml.block("preStop", |yaml| {
            yaml.block("sleep", |yaml| { yaml.plain("seconds", PRE_STOP_SECONDS); });
        });
    })
    .block("resources", |yaml| {
        yaml.block("requests", |yaml| { yaml.pair("cpu", "500m").pair("memory", "512Mi"); });
        yaml.comment("An instance takes what it touches, not its limit. No limit of CPU: it would throttle drains.");
        yaml.block("limits", |yaml| { yaml.pair("memory", "2Gi"); });
    })
    .block("securityContext", |yaml| {
        yaml.plain("allowPrivilegeEscalation", false)
            .plain("readOnlyRootFilesystem", true)
            .block("capabilities", |yaml| {
                yaml.block("drop", |yaml| { yaml.item("ALL"); });
            });
    })
    .block("volumeMounts", |yaml| {
        for (volume, path) in [("state", "/state"), ("host", "/etc/wharf"), ("tmp", "/tmp")] {
            yaml.element(|yaml| { yaml.pair("name", volume).pair("mountPath", path); });
        }
    });
}

fn probe(kind: &str, (path, period, failures): (&str, u64, u64), yaml: &mut Yaml) {
    yaml.block(kind, |yaml| {
        yaml.block("httpGet", |yaml| {
            yaml.pair("path", path).pair("port", "admin");
        })
        .plain("periodSeconds", period)
        .plain("failureThreshold", failures);
    });
}

fn claim(name: &str, size: &str, yaml: &mut Yaml) {
    yaml.block("metadata", |yaml| {
        yaml.pair("name", name);
    })
    .block("spec", |yaml| {
        yaml.plain("accessModes", "[ReadWriteOnce]")
            .block("resources", |yaml| {
                yaml.block("requests", |yaml| {
                    yaml.pair("storage", size);
                });
            });
    });
}

fn disruption_budget(name: &str, yaml: &mut Yaml) {
    object(
        yaml,
        "policy/v1",
        "PodDisruptionBudget",
        name,
        (name, "wharf"),
    );
    yaml.block("spec", |yaml| {
        yaml.plain("maxUnavailable", 1).block("selector", |yaml| {
            yaml.block("matchLabels", |yaml| labels(name, "wharf", yaml));
        });
    });
}

/// Redis as the table of what survives what wants it.
fn redis(name: &str) -> String {
    let own = format!("{name}-redis");
    let mut yaml = Yaml::default();
    object(&mut yaml, "v1", "Service", &own, (name, "redis"));
    yaml.block("spec", |yaml| {
        yaml.block("selector", |yaml| labels(name, "redis", yaml))
            .block("ports", |yaml| {
                yaml.element(|yaml| {
                    yaml.pair("name", "redis").plain("port", 6379);
                });
            });
    });
    object(&mut yaml, "apps/v1", "StatefulSet", &own, (name, "redis"));
    yaml.block("spec", |yaml| {
        yaml.pair("serviceName", &own)
            .plain("replicas", 1)
            .block("selector", |yaml| {
                yaml.block("matchLabels", |yaml| labels(name, "redis", yaml));
            })
            .block("template", |yaml| {
                yaml.block("metadata", |yaml| {
                    yaml.block("labels", |yaml| labels(name, "redis", yaml));
                })
                .block("spec", |yaml| {
                    yaml.plain("automountServiceAccountToken", false)
                        .block("containers", |yaml| {
                            yaml.element(redis_container);
                        });
                });
            })
            .block("volumeClaimTemplates", |yaml| {
                yaml.element(|yaml| claim("data", "8Gi", yaml));
            });
    });
    yaml.finish()
}

fn redis_container(yaml: &mut Yaml) {
    yaml.pair("name", "redis")
        .pair("image", "redis:7.4-alpine")
        .plain(
            "args",
            "[--appendonly, \"yes\", --appendfsync, always, --maxmemory-policy, noeviction]",
        )
        .block("ports", |yaml| {
            yaml.element(|yaml| {
                yaml.pair("name", "redis").plain("containerPort", 6379);
            });
        })
        .block("readinessProbe", |yaml| {
            yaml.block("exec", |yaml| {
                yaml.plain("command", "[redis-cli, ping]");
            })
            .plain("periodSeconds", 5);
        })
        .block("resources", |yaml| {
            yaml.block("requests", |yaml| {
                yaml.pair("cpu", "250m").pair("memory", "256Mi");
            });
            yaml.block("limits", |yaml| {
                yaml.pair("memory", "1Gi");
            });
        })
        .block("volumeMounts", |yaml| {
            yaml.element(|yaml| {
                yaml.pair("name", "data").pair("mountPath", "/data");
            });
        });
}
