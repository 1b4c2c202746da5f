//! Jobs: listed, followed, downloaded, deleted, and nobody else's business.

use super::{App, User, source};
use crate::harness::client::{empty, next_data, try_next_data};

async fn done(user: &User) -> String {
    let id = user.upload("clip.mp4", &source()).await;
    let job = user.settled(&id).await;
    assert_eq!(job["state"], "done", "{job}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_job_does_not_exist() {
    let app = App::shared().await;
    let owner = User::new(&app.host).await;
    let stranger = User::new(&app.host).await;
    let id = done(&owner).await;
    for (method, path) in [
        ("GET", format!("/jobs/{id}")),
        ("GET", format!("/jobs/{id}/events")),
        ("GET", format!("/download?fid={id}")),
        ("DELETE", format!("/jobs/{id}")),
    ] {
        let unknown = path.replace(&id, &"0".repeat(32));
        let theirs = stranger.request(method, &path, empty()).await.expect(404);
        let nobodys = stranger
            .request(method, &unknown, empty())
            .await
            .expect(404);
        assert_eq!(
            theirs.body, nobodys.body,
            "{method} {path}: the answers must not differ"
        );
    }
    assert!(stranger.jobs().await.is_empty());
    assert!(stranger.notices_of(&id).await.is_empty());
    assert_eq!(owner.job(&id).await["state"], "done", "it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn path_tricks_in_ids_lead_nowhere() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let id = done(&user).await;
    let upper = id.to_uppercase();
    for trick in [
        "..%2F..%2Fsecrets%2Fauth-signing-keys",
        "../../secrets/auth-signing-keys",
        "%2e%2e",
        "%00",
        "",
        ".",
        &format!("{id}%2F"),
        &format!("{id}.mp3"),
        &format!("./{id}"),
        &format!("{id}%00"),
        if upper == id { "-" } else { &upper },
        &"a".repeat(5000),
    ] {
        let reply = user.get(&format!("/download?fid={trick}")).await;
        assert!(
            matches!(reply.status, 400 | 404),
            "{trick}: {}",
            reply.status
        );
        if !trick.is_empty() {
            let reply = user.get(&format!("/jobs/{trick}")).await;
            assert!(
                matches!(reply.status, 400 | 404),
                "{trick}: {}",
                reply.status
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_come_back_as_they_were_and_do_no_harm() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    for (sent, kept) in [
        ("../../../etc/passwd", "passwd"),
        ("C:\\\\videos\\\\clip.mp4", "clip.mp4"),
        ("<script>alert(1)</script>.mp4", "script>.mp4"),
        ("naïve ☕ clip.mp4", "naïve ☕ clip.mp4"),
    ] {
        let id = user.upload(sent, b"not media").await;
        let job = user.job(&id).await;
        let name = job["name"].as_str().unwrap();
        assert!(name.ends_with(kept), "{sent:?} became {name:?}");
        assert!(!name.contains("../"), "{sent:?} became {name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_a_job_to_its_end() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let id = user.upload("long.flac", &super::samples::long(120)).await;
    let request = user
        .client
        .request("GET", &format!("/jobs/{id}/events"))
        .header("authorization", format!("Bearer {}", user.token));
    let response = user.client.open(request.body(empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut incoming = response.into_body();
    let mut text = String::from_utf8(next_data(&mut incoming).await.to_vec()).unwrap();
    while let Some(data) = try_next_data(&mut incoming).await {
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    let states: Vec<(String, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap())
        .map(|job| {
            let state = job["state"].as_str().expect("a state").to_owned();
            (state, job["progress"].as_f64().expect("a progress"))
        })
        .collect();
    assert_eq!(states.last().expect("events came").0, "done", "{states:?}");
    let converting: Vec<f64> = states
        .iter()
        .filter(|(state, _)| state == "converting")
        .map(|(_, progress)| *progress)
        .collect();
    assert!(converting.len() >= 2, "progress was seen: {states:?}");
    assert!(converting.is_sorted(), "progress goes up: {converting:?}");
    assert!(
        states.windows(2).all(|pair| pair[0] != pair[1]),
        "each event is news: {states:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_has_its_type_name_and_ranges() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let id = done(&user).await;
    let path = format!("/download?fid={id}");
    let whole = user.get(&path).await.expect(200);
    assert_eq!(whole.header("content-type"), Some("audio/mpeg"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let disposition = whole.header("content-disposition").expect("a file name");
    assert!(disposition.contains("clip.mp3"), "{disposition}");
    let length = whole.body.len();
    let stated = whole.header("content-length").expect("a length");
    assert_eq!(stated, length.to_string());

    let ranged = async |range: &str| {
        let request = user
            .client
            .request("GET", &path)
            .header("authorization", format!("Bearer {}", user.token))
            .header("range", range);
        user.client.send(request.body(empty()).unwrap()).await
    };
    for (range, start, end) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-299", 100, 299),
        ("bytes=-100", length - 100, length - 1),
        (&format!("bytes={}-", length - 7), length - 7, length - 1),
        ("bytes=5-99999999", 5, length - 1),
    ] {
        let part = ranged(range).await.expect(206);
        assert_eq!(part.body, whole.body[start..=end], "{range}");
        let stated = part.header("content-range").expect("which part it is");
        assert_eq!(stated, format!("bytes {start}-{end}/{length}"), "{range}");
    }
    let beyond = ranged(&format!("bytes={length}-")).await.expect(416);
    assert_eq!(
        beyond.header("content-range"),
        Some(format!("bytes */{length}").as_str())
    );
    ranged("bytes=nonsense").await.expect(200);
    let head = user.request("HEAD", &path, empty()).await.expect(200);
    assert_eq!(
        head.header("content-length"),
        Some(length.to_string().as_str())
    );
    assert!(head.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_is_gone_with_its_result() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let id = done(&user).await;
    let result = app.host.state().path().join("blobs");
    assert!(has_file_of(&result, &id), "the result is there before");
    user.request("DELETE", &format!("/jobs/{id}"), empty())
        .await
        .expect(204);
    user.get(&format!("/jobs/{id}")).await.expect(404);
    user.get(&format!("/download?fid={id}")).await.expect(404);
    assert!(user.jobs().await.is_empty());
    assert!(!has_file_of(&result, &id), "the result is gone");
    user.request("DELETE", &format!("/jobs/{id}"), empty())
        .await
        .expect(404);
}

/// A file whose name begins with the job's id is somewhere below `dir`.
fn has_file_of(dir: &std::path::Path, id: &str) -> bool {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.contains(id) || (entry.path().is_dir() && has_file_of(&entry.path(), id))
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_keeps_the_result_and_not_the_upload() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let id = done(&user).await;
    let uploads = app.host.state().path().join("blobs/uploads");
    assert!(
        uploads.is_dir(),
        "uploads are kept in a directory of their own"
    );
    crate::harness::eventually(
        "the upload is gone",
        std::time::Duration::from_secs(10),
        async || (!has_file_of(&uploads, &id)).then_some(()),
    )
    .await;
    user.get(&format!("/download?fid={id}")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_newest_first_and_only_ones_own() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let mut ids = Vec::new();
    for index in 0..3 {
        ids.push(
            user.upload(&format!("file-{index}.txt"), b"not media")
                .await,
        );
    }
    let listed: Vec<String> = user
        .jobs()
        .await
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect();
    ids.reverse();
    assert_eq!(listed, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_nothing_that_a_strict_policy_refuses() {
    let app = App::shared().await;
    let reply = app.host.client().get("/").await.expect(200);
    let policy = reply
        .header("content-security-policy")
        .expect("a policy")
        .to_owned();
    assert!(
        policy.contains("default-src 'self'") || policy.contains("default-src 'none'"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe-inline") && !policy.contains("unsafe-eval"),
        "{policy}"
    );
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let page = reply.text();
    let scripts: Vec<&str> = page.split("<script").skip(1).collect();
    assert!(!scripts.is_empty());
    assert!(
        scripts.iter().all(|script| script.contains("src=")),
        "no inline script"
    );
    assert!(
        !page.contains("style=\"") && !page.contains(" onclick="),
        "no inline style or handler"
    );
}
