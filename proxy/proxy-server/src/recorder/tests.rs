//! What the recorder takes, leaves out, and says of it.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use policy_api::{Hook, Mode, Placement, ReplicaId, RequestFacts};
use policy_runtime::Limits;
use policy_runtime::recording::{Answer, Call, Record, Said, Track, Who};

use super::{Progress, Recorder, RecorderError, Recording, WAITING_BYTES_MAX, write};

fn call(who: &Arc<Who>, turn: u64, prompt_bytes: usize) -> Record {
    let facts = RequestFacts { id: turn, prompt: vec![b'x'; prompt_bytes].into(), ..RequestFacts::default() };
    Record::Call(Box::new(Call {
        who: who.clone(),
        instance: Some(0),
        turn,
        hook: Hook::Place,
        now_ms: 0,
        chance: 0,
        facts: Some(Arc::new(facts)),
        fleet: Some(Arc::default()),
        events: Arc::default(),
        track: Track::default(),
        answer: Answer::bare(Said::Place(Placement::Replica(ReplicaId(1)))),
        took: Duration::ZERO,
    }))
}

fn who() -> Arc<Who> {
    Arc::new(Who {
        slot: "placement".to_owned(),
        name: "first".to_owned(),
        version: "0.1.0".to_owned(),
        digest: "sha256:00".to_owned(),
        config_json: "{}".to_owned(),
        mode: Mode::Pooled,
        component: Arc::from(&b"bytes"[..]),
    })
}

async fn begin(recorder: &Recorder, to: &Recording) -> Result<(), RecorderError> {
    recorder.begin(Some(to), None, &Limits::default(), 1).await
}

fn folder(bytes_max: u64) -> (tempfile::TempDir, Recording) {
    let dir = tempfile::tempdir().unwrap();
    let to = Recording { folder: dir.path().join("recordings"), bytes_max, prompts: false };
    (dir, to)
}

fn written(progress: &Progress) -> (String, policy_runtime::recording::Recording) {
    let text = std::fs::read_to_string(progress.file.as_ref().unwrap()).unwrap();
    let recording = policy_runtime::recording::Recording::read(Cursor::new(&text)).unwrap();
    (text, recording)
}

#[tokio::test]
async fn what_comes_faster_than_it_is_written_is_left_out_and_counted() {
    let recorder = Arc::new(Recorder::new(3));
    let (_dir, to) = folder(1 << 20);
    begin(&recorder, &to).await.unwrap();
    let (who, before) = (who(), recorder.recording());
    // Nobody writes yet: there is room for two after the beginning.
    (0..5).for_each(|turn| recorder.record(call(&who, turn, 0)));
    let writer = tokio::spawn(write(recorder.clone()));
    recorder.end().await;
    let progress = recorder.progress();
    assert_eq!((progress.calls, progress.dropped), (2, 3));
    let (text, recording) = written(&progress);
    assert!(text.contains(r#"{"gap":{"dropped":3}}"#), "{text}");
    assert_eq!(recording.calls.len(), 2);
    assert!(recording.remarks[0].contains("3 records are missing"), "{:?}", recording.remarks);
    assert_eq!((before, recorder.recording()), (1, 0));
    recorder.close().await;
    writer.await.unwrap();
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_too() {
    let recorder = Recorder::new(100);
    let (_dir, to) = folder(1 << 20);
    begin(&recorder, &to).await.unwrap();
    let who = who();
    recorder.record(call(&who, 0, WAITING_BYTES_MAX as usize / 2));
    recorder.record(call(&who, 1, WAITING_BYTES_MAX as usize));
    recorder.record(call(&who, 2, 10));
    assert_eq!((recorder.progress().dropped, recorder.waiting()), (1, 3), "a beginning and two calls");
}

#[tokio::test]
async fn a_recording_ends_when_it_is_full() {
    let recorder = Arc::new(Recorder::new(1000));
    let (_dir, to) = folder(64 << 10);
    begin(&recorder, &to).await.unwrap();
    let writer = tokio::spawn(write(recorder.clone()));
    let who = who();
    (0..500).for_each(|turn| recorder.record(call(&who, turn, 300)));
    assert_eq!(recorder.excerpt(7).await.unwrap().map(|lines| lines.is_empty()), Some(false));
    assert!(!recorder.is_on());
    let progress = recorder.progress();
    let (text, recording) = written(&progress);
    assert!(text.len() as u64 <= to.bytes_max && text.len() as u64 == progress.bytes, "{progress:?}");
    assert!(recording.calls.len() as u64 == progress.calls && progress.calls > 50, "{progress:?}");
    assert_eq!(recording.remarks, ["it ended because it was full"]);
    assert!(recorder.excerpt(499).await.unwrap().is_none(), "it came too late");
    recorder.close().await;
    writer.await.unwrap();
}

#[tokio::test]
async fn a_second_recording_and_one_without_a_folder_are_refused() {
    let recorder = Recorder::new(4);
    let nowhere = recorder.begin(None, None, &Limits::default(), 1).await;
    assert!(matches!(nowhere, Err(RecorderError::NoFolder)));
    let (_dir, to) = folder(1 << 20);
    begin(&recorder, &to).await.unwrap();
    assert!(matches!(begin(&recorder, &to).await, Err(RecorderError::AlreadyOn)));
    let (dir, mut to) = folder(1 << 20);
    std::fs::write(dir.path().join("recordings"), "in the way").unwrap();
    to.folder = dir.path().join("recordings");
    let error = begin(&Recorder::new(4), &to).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot write a recording to "), "{error}");
}
