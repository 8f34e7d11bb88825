plugins {
    java
    id("org.springframework.boot") version "3.3.5"
}
java {
    toolchain { languageVersion = JavaLanguageVersion.of(21) }
}
