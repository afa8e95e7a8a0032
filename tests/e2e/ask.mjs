// Asks one question twice with the official client, whole and streamed; prints both as JSON.
import OpenAI from "openai";

const [baseURL, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const ask = { model: "tiny-r1", messages: [{ role: "user", content: question }], temperature: 0 };

const reply = await client.chat.completions.create(ask);
const message = reply.choices[0].message;
const whole = { reasoning: message.reasoning_content, content: message.content };

const streamed = { reasoning: "", content: "" };
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
    streamed.reasoning += chunk.choices[0]?.delta?.reasoning_content ?? "";
    streamed.content += chunk.choices[0]?.delta?.content ?? "";
}
console.log(JSON.stringify({ whole, streamed }));
