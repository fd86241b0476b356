// One conversation by voice: microphone to the hub, the hub's voice to the loudspeaker.
// Caller: talk.js, which shows what `on` is told. Nothing here touches the page.

import { post } from "./hub.js";

const RATE = 16_000; // Hz the hub listens at; it converts what a browser can't record so
const PLAYED_RATE = 24_000;
const WAV_HEADER = 44;
const LEAD_S = 0.03;
const RETRY_MS = [250, 425, 720, 1_230, 2_090, 3_550, 4_000, 4_000];
const FINAL = new Set([1000, 1008, 1009, 4001]); // closing codes after which nobody comes back

/** The loudspeaker: plays pieces one after the other and falls silent at once when told to. */
class Loudspeaker {
  constructor() {
    this.context = new AudioContext({ sampleRate: PLAYED_RATE });
    this.meter = this.context.createAnalyser();
    this.meter.fftSize = 1024;
    this.meter.connect(this.context.destination);
    this.playing = new Set();
    this.until = 0;
  }

  get busy() {
    return this.playing.size > 0;
  }

  play(wav) {
    const pcm = new Int16Array(wav, WAV_HEADER);
    const buffer = this.context.createBuffer(1, pcm.length, PLAYED_RATE);
    const samples = buffer.getChannelData(0);
    for (let at = 0; at < pcm.length; at += 1) samples[at] = pcm[at] / 32768;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.meter);
    this.until = Math.max(this.until, this.context.currentTime + LEAD_S);
    source.start(this.until);
    this.until += buffer.duration;
    this.playing.add(source);
    source.onended = () => this.playing.delete(source);
  }

  silence() {
    for (const source of this.playing) source.stop();
    this.playing.clear();
    this.until = 0;
  }

  level() {
    return loudness(this.meter);
  }
}

function loudness(meter) {
  const samples = new Float32Array(meter.fftSize);
  meter.getFloatTimeDomainData(samples);
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

export class Conversation {
  /** `on(what, detail)` is told: state, ready, partial, committed, turn, text, sound, end, task, problem, over. */
  constructor({ agent, style, on }) {
    Object.assign(this, { agent, style, on });
    this.sending = false;
    this.seq = 0;
    this.lastSeq = 0;
    this.tries = 0;
    this.over = false;
  }

  async begin() {
    this.loudspeaker = new Loudspeaker(); // made in the click that begins, or browsers keep it mute
    await this.loudspeaker.context.resume();
    await this.openMicrophone();
    await this.openSession();
  }

  async openMicrophone() {
    const wanted = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    let source;
    try {
      this.context = new AudioContext({ sampleRate: RATE });
      source = this.context.createMediaStreamSource(this.stream);
    } catch { // a browser that records only at the microphone's own rate
      this.context = new AudioContext();
      source = this.context.createMediaStreamSource(this.stream);
    }
    await this.context.audioWorklet.addModule("/panel/microphone.js");
    const worklet = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0 });
    worklet.port.onmessage = ({ data }) => this.hear(data);
    this.meter = this.context.createAnalyser();
    this.meter.fftSize = 512;
    source.connect(this.meter);
    source.connect(worklet);
  }

  async openSession() {
    this.session = await post("/v1/voice/session", { agent: this.agent, persona_id: this.style });
    this.lastSeq = 0;
    this.connect();
  }

  connect() {
    if (this.over) return;
    const url = new URL("/v1/voice/session/ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("session_id", this.session.session_id);
    if (this.lastSeq) url.searchParams.set("last_seq", this.lastSeq);
    this.seq = 0;
    this.socket = new WebSocket(url);
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.lost(code, reason);
  }

  lost(code, reason) {
    if (this.over) return;
    this.loudspeaker.silence();
    const wait = RETRY_MS[this.tries++];
    if (FINAL.has(code) || wait === undefined) {
      this.end();
      this.on("over", reason || "The connection to the hub is lost.");
      return;
    }
    this.on("state", "connecting");
    // A session the hub no longer knows is refused before the socket opens: then take a new one.
    const again = this.tries > 2 ? () => this.openSession() : async () => this.connect();
    setTimeout(() => again().catch(() => this.lost(0, "")), wait);
  }

  take(message) {
    this.lastSeq = Math.max(this.lastSeq, message.event_seq);
    const { type } = message;
    if (type === "assistant_audio_chunk") this.sound(message);
    else if (type === "stt_partial") this.on("partial", message.text);
    else if (type === "stt_committed") {
      this.committedAt = performance.now();
      this.on("committed", message.text);
    } else if (type === "assistant_text_delta") this.on("text", message);
    else if (type === "assistant_turn_end") {
      if (message.reason !== "completed") this.loudspeaker.silence();
      this.on("end", message.reason);
    } else if (type.startsWith("task_")) this.on("task", message);
    else if (type === "error_event") this.on("problem", message.detail);
    else if (type === "system_event") this.event(message);
  }

  event({ code }) {
    if (code === "session_ready") {
      this.tries = 0;
      this.on("ready");
    } else if (code === "audio_clear") this.loudspeaker.silence();
    else if (code === "assistant_working") this.on("state", "thinking");
  }

  sound({ audio_base64 }) {
    const bytes = Uint8Array.from(atob(audio_base64), (char) => char.charCodeAt(0));
    this.loudspeaker.play(bytes.buffer);
    if (this.committedAt) {
      this.on("sound", performance.now() - this.committedAt);
      this.committedAt = 0;
    }
  }

  hear(pcm) {
    if (!this.sending || this.socket?.readyState !== WebSocket.OPEN) return;
    const bytes = String.fromCharCode(...new Uint8Array(pcm.buffer));
    this.tell({
      type: "client_audio_chunk",
      seq: (this.seq += 1),
      pcm16_base64: btoa(bytes),
      sample_rate: this.context.sampleRate,
      ts_ms: Math.round(performance.now()),
    });
  }

  control(action, reason) {
    this.tell({ type: "client_control", action, reason });
  }

  tell(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ ...message, session_id: this.session.session_id }));
  }

  interrupt() {
    this.loudspeaker.silence();
    this.control("interrupt", "manual_interrupt");
  }

  /** The button is pressed: from here to `release` is one utterance, whatever the pauses. */
  press() {
    if (this.loudspeaker.busy) this.interrupt();
    this.control("start", "push_to_talk");
    this.sending = true;
  }

  release() {
    this.sending = false;
    this.control("stop", "silence_release");
  }

  levels() {
    return { mine: this.meter && this.sending ? loudness(this.meter) : 0, theirs: this.loudspeaker.level() };
  }

  /** Hang up. Safe to call twice. */
  end() {
    if (this.over) return;
    this.over = true;
    this.socket?.close(1000);
    this.loudspeaker?.silence();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.context?.close();
    this.loudspeaker?.context.close();
    if (this.session) post(`/v1/voice/session/${this.session.session_id}/end`, {}).catch(() => {});
  }
}
