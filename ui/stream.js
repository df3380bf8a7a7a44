/* Gradio's client takes "close_stream" as the end of every event of the page, also of one that was asked for while the
   server was closing the stream: that answer would never come, and the page would wait for it for ever. This stands
   between the network and the client, and asks for the stream again while an answer is still due. */
(() => {
  const network = window.fetch.bind(window);
  const due = new Set(); // ids of events without an answer yet
  const early = new Set(); // ids that were answered before the page was told of them
  const asked = new Set(); // events that the server has not given an id yet

  const join = async (...call) => {
    const answer = network(...call);
    const noted = answer
      .then((found) => found.clone().json())
      .then(({event_id: id}) => id && !early.delete(id) && due.add(id))
      .catch(() => {}); // a refusal, which Gradio's client reads itself
    asked.add(noted);
    await noted;
    asked.delete(noted);
    return answer;
  };

  const stream = async (...call) => {
    const request = new Request(...call);
    const opened = await network(request.clone());
    if (!opened.ok || !opened.body) return opened;
    let reader = opened.body.getReader();
    let rest = '';
    let decoder = new TextDecoder();
    const encoder = new TextEncoder();

    /** Whether a message is to be passed on; a stream that ends too soon is opened again instead. */
    const passes = async (text) => {
      if (!text.startsWith('data:')) return true;
      const {msg, event_id: id} = JSON.parse(text.slice(5));
      if (msg === 'process_completed' && !due.delete(id)) early.add(id);
      if (msg !== 'close_stream') return true;
      await Promise.all(asked);
      if (due.size === 0) return true;
      const again = await network(request.clone());
      if (!again.ok || !again.body) return true;
      reader = again.body.getReader();
      decoder = new TextDecoder();
      return false;
    };

    const body = new ReadableStream({
      async pull(controller) {
        for (let passed = 0; passed === 0;) {
          const {done, value} = await reader.read();
          if (done) {
            controller.close();
            return;
          }
          const texts = (rest + decoder.decode(value, {stream: true})).split('\n\n');
          rest = texts.pop();
          for (const text of texts) {
            if (await passes(text)) {
              controller.enqueue(encoder.encode(`${text}\n\n`));
              passed += 1;
            } else {
              rest = '';
              break;
            }
          }
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, {status: opened.status, headers: opened.headers});
  };

  window.fetch = (...call) => {
    const {pathname} = new URL(call[0] instanceof Request ? call[0].url : call[0], window.location.href);
    if (pathname.endsWith('/gradio_api/queue/join')) return join(...call);
    if (pathname.endsWith('/gradio_api/queue/data')) return stream(...call);
    return network(...call);
  };
})();
