//! Dialogues of the client with scripted peers.
