//! What templates of real checkpoints need, and what their refusals become.

use std::time::Duration;

use openai_api::Role;

use super::*;

fn messages(said: &[(Role, &str)]) -> Vec<Message> {
    said.iter().map(|(role, content)| Message { role: *role, content: (*content).to_owned(), name: None }).collect()
}

#[track_caller]
fn check(source: &str, wanted: &str) {
    let template = ChatTemplate::parse(source.to_owned(), "<s>".to_owned(), "</s>".to_owned()).unwrap();
    let said = [(Role::System, " be brief "), (Role::User, "<b>hi</b>"), (Role::Assistant, "yo")];
    assert_eq!(template.render(&messages(&said)).unwrap(), wanted);
}

#[test]
fn chatml_renders_as_trained() {
    check(
        "{% for m in messages %}\n{{ '<|im_start|>' + m.role + '\\n' + m['content'] + '<|im_end|>\\n' }}\n{% endfor %}\n{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "<|im_start|>system\n be brief <|im_end|>\n\n<|im_start|>user\n<b>hi</b><|im_end|>\n\n<|im_start|>assistant\nyo<|im_end|>\n\n<|im_start|>assistant\n",
    );
}

#[test]
fn what_python_writes_works() {
    check(
        "{{ bos_token }}{%- if messages[0].role == 'system' %}{%- set system = messages[0]['content'].strip() %}{%- set messages = messages[1:] %}{%- endif %}{{ system.upper() }}|{%- for m in messages if not m.name is defined %}{{ m.content | trim }}{{ eos_token if loop.last }};{%- endfor %}",
        "<s>BE BRIEF|<b>hi</b>;yo</s>;",
    );
}

#[test]
fn loops_may_break() {
    check("{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}", "system");
}

#[test]
fn a_raised_exception_is_the_clients_fault_and_a_broken_template_is_not() {
    let render = |source: &str| {
        let template = ChatTemplate::parse(source.to_owned(), String::new(), String::new()).unwrap();
        template.render(&messages(&[(Role::User, "hi")])).unwrap_err()
    };
    let refused = "{% if messages %}{{ raise_exception('roles must alternate') }}{% endif %}";
    assert!(matches!(render(refused), RenderError::Refused(words) if words == "roles must alternate"));
    assert!(matches!(render("{{ messages.nothing.at_all }}"), RenderError::Broken(_)));
    assert!(ChatTemplate::parse("{% for %}".to_owned(), String::new(), String::new()).is_err());
}

#[test]
fn templates_are_found_where_checkpoints_keep_them() {
    let dir = tempfile::tempdir().unwrap();
    let load = |config: &str| ChatTemplate::load(dir.path(), &serde_json::from_str(config).unwrap()).unwrap();
    let rendered = |template: Option<ChatTemplate>| template.map(|template| template.render(&[]).unwrap());
    assert_eq!(rendered(load("{}")), None);
    assert_eq!(rendered(load(r#"{"chat_template":"a{{ bos_token }}","bos_token":"B"}"#)).unwrap(), "aB");
    let named = r#"{"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d{{ eos_token }}"}],"eos_token":{"content":"E"}}"#;
    assert_eq!(rendered(load(named)).unwrap(), "dE");
    std::fs::write(dir.path().join("chat_template.jinja"), "file").unwrap();
    assert_eq!(rendered(load(named)).unwrap(), "file");
}

#[test]
fn dates_are_those_of_the_calendar() {
    let at =
        |seconds| strftime(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), "%d %b %Y %B %H:%M:%S %m %% %q %");
    assert_eq!(at(0), "01 Jan 1970 January 00:00:00 01 % %q %");
    assert_eq!(at(951_827_696), "29 Feb 2000 February 12:34:56 02 % %q %");
    assert_eq!(at(1_735_689_599), "31 Dec 2024 December 23:59:59 12 % %q %");
}
