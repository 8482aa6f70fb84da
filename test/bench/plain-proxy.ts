/** The least that a proxy on Bun can do: pass the request on, and pump the answer back. */
const [port, upstream] = process.argv.slice(2);

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  idleTimeout: 255,
  development: false,
  async fetch(request) {
    if (request.method !== "POST") {
      return new Response("ready\n");
    }
    const { pathname } = new URL(request.url);
    const headers = new Headers(request.headers);
    headers.delete("host");
    const answer = await fetch(upstream + pathname, {
      method: "POST",
      headers,
      body: await request.arrayBuffer(),
    });
    const source = answer.body?.getReader();
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = (await source?.read()) ?? { done: true, value: undefined };
        if (done) {
          controller.close();
        } else {
          controller.enqueue(value);
        }
      },
    });
    const type = answer.headers.get("content-type") ?? "application/json";
    return new Response(body, { status: answer.status, headers: { "content-type": type } });
  },
});
