"""Traces as MLflow's users make, search and judge them, read back through the client and our own API. Runs on mlflow 2.22 (skinny) and 3.17."""

import inspect
import json
import os
import time
import urllib.request

os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

url = os.environ["MLFLOW_TRACKING_URI"]
client = MlflowClient()
is_3 = int(mlflow.__version__.split(".")[0]) >= 3


def own(path):
    return json.load(urllib.request.urlopen(f"{url}/api/v1{path}"))


def refused(code, call):
    try:
        call()
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, str(error))
        return
    raise AssertionError(f"nothing was refused, {code} was to be")


@mlflow.trace(span_type="RETRIEVER")
def retrieve(question):
    return [f"about {question}", "бета"]


@mlflow.trace(span_type="CHAIN", attributes={"k": 1})
def answer(question):
    if question == "fail":
        raise ValueError("no answer")
    return {"answer": question.upper(), "documents": retrieve(question)}


def tracing():
    experiment = mlflow.set_experiment("traces")
    answer("hello")
    first = mlflow.get_last_active_trace_id()
    try:
        answer("fail")
    except ValueError:
        pass
    failed = mlflow.get_last_active_trace_id()
    with mlflow.start_span("manual", span_type="TOOL") as span:
        span.set_inputs({"x": 1})
        span.set_outputs([1, 2, 2**60])
        mlflow.update_current_trace(tags={"lang": "en"}, metadata={"mlflow.trace.session": "s1"}, client_request_id="req-1")
    manual = span.trace_id
    with mlflow.start_run() as run:
        answer("in run")
        in_run = mlflow.get_last_active_trace_id()

    trace = mlflow.get_trace(first)
    assert (trace.info.state, trace.info.request_preview) == ("OK", '{"question": "hello"}'), trace.info
    assert [(s.name, s.span_type, s.parent_id is None) for s in trace.data.spans] == [
        ("answer", "CHAIN", True),
        ("retrieve", "RETRIEVER", False),
    ]
    assert trace.data.spans[0].inputs == {"question": "hello"}
    assert trace.data.spans[0].outputs == {"answer": "HELLO", "documents": ["about hello", "бета"]}
    assert trace.data.spans[0].attributes["k"] == 1
    assert trace.data.spans[0].end_time_ns > trace.data.spans[0].start_time_ns > 10**18
    assert mlflow.get_trace(manual).data.spans[0].outputs == [1, 2, 2**60]
    assert mlflow.get_trace(failed).data.spans[0].events[0].name == "exception"
    assert mlflow.get_trace("tr-00000000000000000000000000000000") is None

    def found(filter_string=None, **options):
        traces = mlflow.search_traces(
            locations=[experiment.experiment_id], filter_string=filter_string, return_type="list", **options
        )
        return [it.info.trace_id for it in traces]

    assert found() == [in_run, manual, failed, first]
    assert found(order_by=["timestamp_ms ASC"], max_results=2) == [first, failed]
    assert found("status = 'ERROR'") == [failed]
    assert found("tags.lang = 'en'") == [manual]
    assert found("metadata.`mlflow.trace.session` = 's1'") == [manual]
    assert found("trace.client_request_id = 'req-1'") == [manual]
    assert found("name = 'answer' AND status = 'OK'") == [in_run, first]
    assert found("span.name = 'retrieve'") == [in_run, first]
    assert found("span.type = 'TOOL' AND span.name LIKE 'man%'") == [manual]
    assert found("trace.text LIKE '%hello%'") == [first]
    assert found(f"run_id = '{run.info.run_id}'") == [in_run]
    assert found("timestamp_ms > 4102444800000") == []
    refused("INVALID_PARAMETER_VALUE", lambda: found("nothing > 1"))
    table = mlflow.search_traces(locations=[experiment.experiment_id])
    assert len(table) == 4 and "trace_id" in table.columns

    pages, token = [], None
    while True:
        page = client.search_traces(locations=[experiment.experiment_id], max_results=3, page_token=token, include_spans=False)
        pages.append(len(page))
        token = page.token
        if not token:
            break
    assert pages == [3, 1], pages

    mlflow.set_trace_tag(first, "reviewed", "yes")
    assert mlflow.get_trace(first).info.tags["reviewed"] == "yes"
    mlflow.delete_trace_tag(first, "reviewed")
    assert "reviewed" not in mlflow.get_trace(first).info.tags
    refused("RESOURCE_DOES_NOT_EXIST", lambda: mlflow.delete_trace_tag(first, "reviewed"))

    feedback = mlflow.log_feedback(trace_id=first, name="correct", value=True, rationale="it is")
    scores = mlflow.log_feedback(trace_id=first, name="scores", value={"x": 0.5, "y": [1, None]}, metadata={"m": "1"})
    mlflow.log_feedback(trace_id=first, name="rating", value=4.5)
    mlflow.log_feedback(trace_id=first, name="broken", error=ValueError("judge down"))
    expected = mlflow.log_expectation(trace_id=first, name="expected", value={"answer": "HI"})
    said = {it.name: it for it in mlflow.get_trace(first).info.assessments}
    assert list(said) == ["correct", "scores", "rating", "broken", "expected"]
    assert (said["correct"].value, said["correct"].rationale, said["correct"].valid) == (True, "it is", True)
    assert said["scores"].value == {"x": 0.5, "y": [1, None]} and said["scores"].metadata == {"m": "1"}
    assert said["broken"].error.error_message == "judge down"
    assert said["expected"].value == {"answer": "HI"}
    mlflow.update_assessment(
        trace_id=first, assessment_id=expected.assessment_id, assessment=mlflow.entities.Expectation(name="expected", value="HELLO")
    )
    assert mlflow.get_assessment(first, expected.assessment_id).value == "HELLO"
    other = mlflow.override_feedback(trace_id=first, assessment_id=feedback.assessment_id, value=False, rationale="no")
    assert mlflow.get_assessment(first, feedback.assessment_id).valid is False
    assert found("feedback.correct = 'false'") == [first]
    assert found("feedback.rating > 4") == [first]
    assert found("expectation.expected = 'HELLO'") == [first]
    mlflow.delete_assessment(trace_id=first, assessment_id=other.assessment_id)
    assert mlflow.get_assessment(first, feedback.assessment_id).valid is True
    mlflow.delete_assessment(trace_id=first, assessment_id=scores.assessment_id)
    refused("RESOURCE_DOES_NOT_EXIST", lambda: mlflow.get_assessment(first, scores.assessment_id))

    client.link_traces_to_run([first, manual], run.info.run_id)
    assert found(f"run_id = '{run.info.run_id}'") == [in_run, manual, first]

    native = own(f"/traces/{first}")
    assert (native["name"], native["state"], native["experiment"]) == ("answer", "ok", experiment.experiment_id)
    assert [span["name"] for span in native["spans"]] == ["answer", "retrieve"]
    assert native["spans"][0]["attributes"]["mlflow.spanInputs"] == {"question": "hello"}
    assert [it["id"] for it in own("/traces?experiment=traces")["traces"]] == [in_run, manual, failed, first]
    assert [it["id"] for it in own(f"/traces?run={run.info.run_id}")["traces"]] == [in_run, manual, first]

    with mlflow.start_span("large") as span:
        span.set_outputs("x" * 3_000_000)
    assert mlflow.get_trace(span.trace_id).data.spans[0].outputs == "x" * 3_000_000

    assert client.delete_traces(experiment.experiment_id, trace_ids=[failed, span.trace_id]) == 2
    assert client.delete_traces(experiment.experiment_id, max_timestamp_millis=int(time.time() * 1000), max_traces=1) == 1
    assert found() == [in_run, manual]


def evaluation():
    """mlflow.genai.evaluate over rows, with a judge that needs no network."""
    mlflow.set_experiment("evaluation")

    @mlflow.genai.scorer
    def is_upper(outputs):
        return outputs.isupper()

    rows = [{"inputs": {"question": text}, "expectations": {"expected": text.upper()}} for text in ("a", "b")]
    result = mlflow.genai.evaluate(data=rows, predict_fn=lambda question: question.upper(), scorers=[is_upper])
    assert result.metrics["is_upper/mean"] == 1.0, result.metrics
    assert len(mlflow.search_traces(run_id=result.run_id)) == 2


def asynchronous():
    os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "true"
    experiment = mlflow.set_experiment("asynchronous")
    for i in range(30):
        answer(str(i))
    mlflow.flush_trace_async_logging()
    deadline = time.time() + 20
    while time.time() < deadline:
        traces = mlflow.search_traces(locations=[experiment.experiment_id], return_type="list", max_results=100)
        if len(traces) == 30 and all(len(trace.data.spans) == 2 for trace in traces):
            break
        time.sleep(0.5)
    assert len(traces) == 30, len(traces)


def old():
    """What MLflow 2 does, which tells of a trace at its beginning and at its end."""
    experiment = mlflow.set_experiment("old traces")
    answer("hello")
    trace = mlflow.get_last_active_trace()
    found = client.search_traces([experiment.experiment_id])
    assert [it.info.request_id for it in found] == [trace.info.request_id]
    assert found[0].info.status == "OK" and found[0].info.execution_time_ms >= 0
    assert [span.name for span in found[0].data.spans] == ["answer", "retrieve"]
    client.set_trace_tag(trace.info.request_id, "t", "1")
    assert client.search_traces([experiment.experiment_id], filter_string="tags.t = '1'")[0].info.tags["t"] == "1"
    client.delete_trace_tag(trace.info.request_id, "t")
    assert own("/traces?experiment=old%20traces")["traces"][0]["state"] == "ok"
    assert client.delete_traces(experiment.experiment_id, request_ids=[trace.info.request_id]) == 1


def can_trace():
    """MLflow 2 ends no span with later releases of OpenTelemetry, whatever the server."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    return is_3 or "_shutdown" not in inspect.getsource(SimpleSpanProcessor.on_end)


done = []
for step in [tracing, evaluation, asynchronous] if is_3 else [old] if can_trace() else []:
    step()
    done.append(step.__name__)
print(json.dumps(done))
