"""The compose texts that journeys deploy."""

DEMO = """\
services:
  web:
    image: slipway/demo:1
    environment:
      SERVICE_NAME: ${GREETING:-demo}
    volumes: ["data:/data"]
    expose: ["8000"]
volumes:
  data: {}
"""
SHAKY = DEMO.replace("slipway/demo:1", "team/shaky:1")
PORT_TAKEN = """\
services:
  web:
    image: slipway/demo:1
    ports: ["9000:8000"]
"""
CRASHES = """\
services:
  web:
    image: busybox:1
    command: ["sh", "-c", "echo no database to be found; exit 3"]
    expose: ["8000"]
"""
STUBBORN = """\
services:
  web:
    image: busybox:1
    command: ["sh", "-c", "trap '' TERM; mkdir /www; echo up >/www/index.html; httpd -f -p 8000 -h /www"]
    expose: ["8000"]
"""
SHOP = """\
services:
  web:
    image: busybox:1
    depends_on:
      db: {condition: service_healthy}
    command:
      - sh
      - -c
      - mkdir /www && wget -q -O /www/index.html http://db:8000/greeting && exec httpd -f -p 8080 -h /www
    networks: [public, inner]
    stop_signal: SIGKILL
    ports: ["8080"]
  db:
    image: busybox:1
    command:
      - sh
      - -c
      - test -e /data/greeting || echo hello from the database >/data/greeting; exec httpd -f -p 8000 -h /data
    healthcheck: {test: wget -q -O /dev/null http://127.0.0.1:8000/greeting, interval: 1s, timeout: 2s, retries: 10}
    volumes: ["rows:/data"]
    networks: [inner]
    stop_signal: SIGKILL
networks:
  public: {}
  inner: {internal: true}
volumes:
  rows: {}
"""
